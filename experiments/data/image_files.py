"""Which files of a folder are images: those of every ending that Pillow decodes, but for what programs leave behind."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from experiments.data.files import FileError
from experiments.errors import shorten

ACCEPTED = "SPLIT/CLASS/*.jpg (or .png, ...), the same classes in every split, with an image in each"

_SERVICE = frozenset(
    ("__macosx", "__pycache__", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found")
) | {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
"""Names, in small letters, of what archives, file servers and file browsers add to folders."""

_LEFT_TO_OTHERS = frozenset(("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"))
"""Formats that Pillow knows by name and decodes only with another program, or not at all."""

_MOST_SHOWN = 3

_Inode = tuple[int, int]


@cache
def endings() -> frozenset[str]:
    """The endings of the files that Pillow decodes, in small letters and with their dot."""
    from PIL import Image

    Image.init()
    return frozenset(
        ending
        for ending, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in _LEFT_TO_OTHERS
    )


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name."""
    return path.suffix.lower() in endings()


def entries(folder: Path) -> list[Path]:
    """What is in a folder, by name and without what is hidden or a program's own; nothing where it is no folder.

    Raises:
        FileError: if it cannot be listed.
    """
    with _reading(folder):
        return sorted(path for path in folder.iterdir() if not _is_service(path.name)) if folder.is_dir() else []


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, and the links to folders.

    Raises:
        FileError: if it cannot be listed.
    """
    with _reading(folder):
        return [path for path in entries(folder) if path.is_dir()]


def files_below(folder: Path) -> Iterator[Path]:
    """Every file at any depth, links to files and folders followed.

    Raises:
        FileError: if a folder cannot be listed; for a link that leads nowhere, or to a folder that it lies in.
    """
    with _reading(folder):
        around = (*folder.absolute().parents, *folder.resolve().parents)
        yield from _files(folder, frozenset(map(_inode, around)))


def _files(path: Path, around: frozenset[_Inode]) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif not path.is_dir():
        raise FileError(f"{shown(path)} is no file, or a link to nothing", ACCEPTED)
    elif (inode := _inode(path)) in around:
        raise FileError(f"{shown(path)} is a link to a folder that it lies in", ACCEPTED)
    else:
        for inner in entries(path):
            yield from _files(inner, around | {inode})


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"{shown(error.filename or folder)} cannot be read ({error.strerror})", ACCEPTED) from error


def _inode(path: Path) -> _Inode:
    found = path.stat()
    return found.st_dev, found.st_ino


def _is_service(name: str) -> bool:
    """Whether a name is hidden (so are AppleDouble files, `._NAME`) or one that programs give to files of their own."""
    return name.startswith(".") or name.casefold() in _SERVICE


def composed(text: str) -> str:
    """A name with its accents composed (NFC): some systems take them apart, and mean the same name."""
    return unicodedata.normalize("NFC", text)


def is_text(name: str) -> bool:
    """Whether a name is UTF-8, as everything that is recorded has to be."""
    return name.encode(errors="ignore").decode() == name


def shown(path: Path | str) -> str:
    """A path in one line of plain text, whatever bytes are in its name."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(path))


def some(names: Iterable[str]) -> str:
    """The first few of these names, and how many more there are."""
    listed = [shown(name) for name in names]
    more = f" and {len(listed) - _MOST_SHOWN} more" if len(listed) > _MOST_SHOWN else ""
    return shorten(", ".join(listed[:_MOST_SHOWN])) + more
