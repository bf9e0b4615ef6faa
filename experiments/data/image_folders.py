"""A split as a folder of images: SPLIT/CLASS/*.png, one folder for each class."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.data.data_set import ID, DataSet
from experiments.data.files import FileError
from experiments.errors import shorten

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
ACCEPTED = "SPLIT/CLASS/*.jpg (or .png, ...), the same classes in every split"


class ImageSplit:
    """The images of a split.

    Args:
        data_set: the columns that image and class become.
        root: SPLIT, with a folder for each class.
        classes: the names of the classes, in the order of their ids.
    """

    def __init__(self, data_set: DataSet, root: Path, classes: list[str]) -> None:
        self.data_set, self.root, self.classes = data_set, root, classes

    @cached_property
    def _images(self) -> list[Path]:
        return [
            path
            for name in class_names(self.root)
            for path in sorted((self.root / name).rglob("*"))
            if path.suffix.lower() in SUFFIXES and path.is_file()
        ]

    def files(self) -> dict[str, Path]:
        """The images by their path below the split, which begins with their class."""
        return {path.relative_to(self.root).as_posix(): path for path in self._images}

    def errors(self) -> list[str]:
        """One line for classes that are there and should not be, and one for those that are not there."""
        found, where = class_names(self.root), f"split {self.root.name} in {self.root.parent}"
        extra, missing = sorted(set(found) - set(self.classes)), sorted(set(self.classes) - set(found))
        errors = [f"{where} has classes that are not the task's ({shorten(', '.join(extra))})"] if extra else []
        errors += [f"{where} lacks the classes {shorten(', '.join(missing))}"] if missing else []
        return [f"{error}; accepted: {ACCEPTED}" for error in errors]

    def total(self) -> int:
        """The number of images."""
        return len(self._images)

    def table(self) -> pa.Table:
        """Bytes and path of each image, its class as a number, and the path below the split as its id.

        Raises:
            FileError: if the classes are not the expected ones, or a file cannot be read.
        """
        import pyarrow as pa

        errors = self.errors()
        if errors:
            raise FileError("; ".join(errors))
        numbers = {name: number for number, name in enumerate(self.classes)}
        places = self.files()
        try:
            images = [{"bytes": path.read_bytes(), "path": path.name} for path in places.values()]
        except OSError as error:
            raise FileError(f"{error.filename} cannot be read ({error.strerror})") from error
        return pa.table(
            {
                self.data_set.inputs[0]: pa.array(images, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
                self.data_set.label: pa.array([numbers[place.partition("/")[0]] for place in places], pa.int64()),
                ID: pa.array(list(places), pa.string()),
            }
        )


def class_names(root: Path) -> list[str]:
    """The names of the folders in a folder, in alphabetical order; none where it is none."""
    return sorted(path.name for path in root.glob("*") if path.is_dir() and not path.name.startswith("."))
