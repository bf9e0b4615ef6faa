"""A split as a folder of images: SPLIT/CLASS/*.png, one folder for each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.data.data_set import ID, DataSet
from experiments.data.files import FileError
from experiments.data.image_files import (
    ACCEPTED,
    composed,
    entries,
    files_below,
    folders,
    is_image,
    is_text,
    shown,
    some,
)
from experiments.errors import shorten

if TYPE_CHECKING:
    import pyarrow as pa

_CHUNK = 256
"""Images in a piece of a column, whose bytes must stay below 2 GiB."""


class ImageSplit:
    """The images of a split.

    Links are followed. What is hidden or left behind by programs is no image; a name counts with its accents composed.

    Args:
        data_set: the columns that image and class become.
        root: SPLIT, with a folder for each class.
        classes: the names of the classes, in the order of their ids.
    """

    def __init__(self, data_set: DataSet, root: Path, classes: list[str]) -> None:
        self.data_set, self.root, self.classes = data_set, root, classes

    @cached_property
    def _files(self) -> list[tuple[str, Path]]:
        """Every file in a class, with its name below the split, in the order of these."""
        found = [path for path in files_below(self.root) if path.parent != self.root]
        named = [(composed(path.relative_to(self.root).as_posix()), path) for path in found]
        return sorted(named, key=lambda pair: pair[0].split("/"))

    @cached_property
    def _images(self) -> dict[str, Path]:
        return {name: path for name, path in self._files if is_image(path)}

    @cached_property
    def _others(self) -> list[tuple[str, Path]]:
        return [(name, path) for name, path in self._files if name not in self._images]

    def files(self) -> dict[str, Path]:
        """The images by their path below the split, which begins with their class."""
        return self._images

    @property
    def _where(self) -> str:
        return f"split {self.root.name} in {shown(self.root.parent)}"

    def errors(self) -> list[str]:
        """One line for each kind of name that is none, and for classes that are too many, missing or empty."""
        return [f"{fault}; accepted: {ACCEPTED}" for fault in self._faults()]

    def _faults(self) -> list[str]:
        return [f"{self._where} {fault}" for fault in self._name_faults() or self._class_faults()]

    def _name_faults(self) -> list[str]:
        names = [composed(path.name) for path in folders(self.root)] + [name for name, _ in self._files]
        groups = {
            "has names that are not UTF-8": [name for name in names if not is_text(name)],
            "has two of one name, their accents written in two ways": [n for n, c in Counter(names).items() if c > 1],
        }
        return [f"{what} ({some(wrong)})" for what, wrong in groups.items() if wrong]

    def _class_faults(self) -> list[str]:
        found, expected, filled = set(class_names(self.root)), set(self.classes), set(map(_class_of, self._images))
        empty = (found & expected) - filled
        groups = {
            "has classes that are not the task's": found - expected,
            "lacks classes": expected - found,
            "has classes without an image": empty,
        }
        faults = [f"{what} ({some(sorted(names))})" for what, names in groups.items() if names]
        others = [pair for pair in self._others if _class_of(pair[0]) in empty]
        return [*faults[:-1], f"{faults[-1]}, but files of other endings ({_endings(others)})"] if others else faults

    def notes(self) -> list[str]:
        """What is in the split and not read, and classes whose names are nearly the same."""
        outside = [path.name for path in entries(self.root) if not path.is_dir()]
        alike = _alike(class_names(self.root))
        facts = {
            f"{len(self._others)} files are not read, being no images by their endings": _endings(self._others),
            f"{len(outside)} files are not read, being in no class": some(outside),
            "the names of classes differ in capitals or spaces alone": "; ".join(map(some, alike)),
        }
        return [f"{self._where}: {fact} ({what})" for fact, what in facts.items() if what]

    def total(self) -> int:
        """The number of images."""
        return len(self.files())

    def table(self) -> pa.Table:
        """Bytes and path of each image, its class as a number, and the path below the split as its id.

        Raises:
            FileError: if the classes are not the expected ones, or a file cannot be read.
        """
        import pyarrow as pa

        if faults := self._faults():
            raise FileError("; ".join(faults), ACCEPTED)
        numbers = {name: number for number, name in enumerate(self.classes)}
        places = self.files()
        return pa.table(
            {
                self.data_set.inputs[0]: _encoded(list(places.values())),
                self.data_set.label: pa.array([numbers[_class_of(place)] for place in places], pa.int64()),
                ID: pa.array(list(places), pa.string()),
            }
        )


def class_names(root: Path) -> list[str]:
    """The names of the folders in a folder, in alphabetical order; none where it is none.

    Raises:
        FileError: if it cannot be listed.
    """
    return sorted({composed(path.name) for path in folders(root)})


def _encoded(paths: Sequence[Path]) -> pa.ChunkedArray:
    """The files as a column of the `datasets` library's images.

    Raises:
        FileError: if one cannot be read.
    """
    import pyarrow as pa

    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    try:
        chunks = [
            pa.array([{"bytes": path.read_bytes(), "path": path.name} for path in paths[first : first + _CHUNK]], kind)
            for first in range(0, len(paths), _CHUNK)
        ]
    except OSError as error:
        raise FileError(f"{shown(error.filename)} cannot be read ({error.strerror})", ACCEPTED) from error
    return pa.chunked_array(chunks, kind)


def _class_of(name: str) -> str:
    return name.partition("/")[0]


def _alike(names: Iterable[str]) -> list[list[str]]:
    """The names that others equal but for capitals and spaces at their ends."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.casefold().strip(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _endings(files: Iterable[tuple[str, Path]]) -> str:
    counts = Counter(sorted(path.suffix.lower() or "without an ending" for _, path in files))
    return shorten(", ".join(f"{shown(ending)} {count}" for ending, count in counts.most_common()))
