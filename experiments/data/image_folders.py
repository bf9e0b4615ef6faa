"""A split as a folder of images: SPLIT/CLASS/*.png, one folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from experiments.data.files import FileError
from experiments.data.rows import ID
from experiments.errors import SpecError, shorten

FROM_FOLDER = "folder"
"""What a task says for its classes where the folder's own are meant."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
ACCEPTED = "SPLIT/CLASS/*.jpg (or .png, ...), the same classes in every split"


def is_split(folder: Path, split: str) -> bool:
    """Whether the split is a folder of folders."""
    return (folder / split).is_dir() and bool(_class_folders(folder, split))


def classes(folder: Path, split: str) -> list[str]:
    """The names of a split's classes, in alphabetical order.

    Raises:
        SpecError: if it is no folder of classes.
    """
    if not is_split(folder, split):
        raise SpecError([f"data.path={folder}: no folder {split} with a folder for each class; accepted: {ACCEPTED}"])
    return [path.name for path in _class_folders(folder, split)]


def check(folder: Path, split: str, expected: Sequence[str] | int) -> list[str]:
    """What is wrong with a split's classes, in one line each; empty where nothing is."""
    found = [path.name for path in _class_folders(folder, split)]
    where = f"split {split} in {folder}"
    if isinstance(expected, int):
        return [] if len(found) == expected else [f"{where} has {len(found)} classes; accepted: {expected}"]
    extra, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    errors = [f"{where} has classes that are not the task's ({shorten(', '.join(extra))})"] if extra else []
    errors += [f"{where} lacks the classes {shorten(', '.join(missing))}"] if missing else []
    return [f"{error}; accepted: {ACCEPTED}" for error in errors]


def image_files(folder: Path, split: str) -> list[Path]:
    """The images of a split, by class and name."""
    return [
        path
        for group in _class_folders(folder, split)
        for path in sorted(group.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]


def table(folder: Path, split: str, expected: Sequence[str] | int, image: str, label: str) -> pa.Table:
    """The rows of a split: bytes and path of each image, its class as a number, the path below the split as its id.

    Raises:
        FileError: if the classes are not the expected ones, or a file cannot be read.
    """
    errors = check(folder, split, expected)
    if errors:
        raise FileError("; ".join(errors))
    names = classes(folder, split) if isinstance(expected, int) else list(expected)
    paths = image_files(folder, split)
    places = [path.relative_to(folder / split) for path in paths]
    try:
        images = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    except OSError as error:
        raise FileError(f"{error.filename} cannot be read ({error.strerror})") from error
    return pa.table(
        {
            image: pa.array(images, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
            label: pa.array([names.index(place.parts[0]) for place in places], pa.int64()),
            ID: pa.array([place.as_posix() for place in places], pa.string()),
        }
    )


def _class_folders(folder: Path, split: str) -> list[Path]:
    return sorted(path for path in (folder / split).glob("*") if path.is_dir() and not path.name.startswith("."))
