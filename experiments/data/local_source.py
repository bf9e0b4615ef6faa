"""Rows from a folder: files of rows, or folders of images."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from experiments.configuration.digests import file_digest
from experiments.data import files, image_folders
from experiments.data.data_set import FROM_FOLDER, Classes, DataSet
from experiments.data.image_folders import ImageSplit, class_names
from experiments.data.references import Reference, content
from experiments.data.source import Source
from experiments.data.tables import TableSplit
from experiments.errors import SpecError

if TYPE_CHECKING:
    import pyarrow as pa


class LocalSource(Source):
    """The rows of a data set in a folder, which is only read.

    Args:
        data_set: whose rows.
        path: PATH; the rows are in PATH/<task name>, PATH/<its last part> or PATH.
    """

    def __init__(self, data_set: DataSet, path: str) -> None:
        super().__init__(data_set)
        self._path = path
        self._found: dict[str, TableSplit | ImageSplit] = {}

    @property
    def where(self) -> str:
        """See `Source.where`."""
        return f"data.path={self._path}"

    @property
    def classes(self) -> Classes:
        """See `Source.classes`."""
        return self.class_names if self.data_set.classes == FROM_FOLDER else self.data_set.classes

    @cached_property
    def class_names(self) -> list[str]:
        """Of folders of images the names of the classes: the task's, or the folders of the training images.

        Raises:
            SpecError: if there is no such folder.
        """
        if isinstance(self.data_set.classes, list):
            return self.data_set.classes
        split = self._first_split
        names = class_names(self.folder / split)
        if not names:
            raise SpecError(
                [
                    f"{self.where}: no folder {split} in {self.folder} with a folder for each class; accepted: "
                    f"{image_folders.ACCEPTED}"
                ]
            )
        return names

    @cached_property
    def folder(self) -> Path:
        """The first of the places that holds a split.

        Raises:
            SpecError: if none does.
        """
        root, name, splits = Path(self._path).expanduser(), self.data_set.name, self.data_set.needed
        places = [root / name, root / name.rpartition("/")[2], root]
        for place in places:
            if place.is_dir() and any(_holds(place, split) for split in splits):
                return place
        accepted = f"accepted: a folder with {' and '.join(splits)} as {files.ACCEPTED}"
        if not root.is_dir():
            raise SpecError([f"{self.where}: no such folder; {accepted}"])
        looked = ", ".join(map(str, places))
        raise SpecError([f"{self.where}: no split of {self.data_set.task} in {looked}; {accepted}"])

    def own_errors(self) -> list[str]:
        """See `Source.own_errors`."""
        try:
            counted = self._count_errors(self.folder)
        except SpecError as error:
            return error.errors
        return counted + [error for split in self.data_set.needed for error in self._split_errors(split)]

    def reference(self) -> dict[str, JsonValue]:
        """See `Source.reference`: what is in the files of each split; of images their paths below it and the classes.

        Raises:
            SpecError: if a split is not there, or cannot be read.
        """
        splits = {split: self._split(split) for split in self.data_set.needed}
        try:
            found: dict[str, JsonValue] = {"splits": {name: content(split.files()) for name, split in splits.items()}}
        except OSError as error:
            raise SpecError(
                [f"{self.where}: {error.filename} cannot be read ({error.strerror}); accepted: a readable file"]
            ) from error
        images = any(isinstance(split, ImageSplit) for split in splits.values())
        return {**found, "classes": list(self.class_names)} if images else found

    def matches(self, reference: Reference) -> bool:
        """See `Source.matches`; identity 1 has the sha256 of each file, by split and in the order of their names."""
        then = reference.get("sha256")
        if not isinstance(then, dict):
            return super().matches(reference)
        needed = {split: self._split(split).files().values() for split in self.data_set.needed}
        return all(then.get(split) == [file_digest(path) for path in paths] for split, paths in needed.items())

    def total(self, split: str) -> int | None:
        """See `Source.total`."""
        try:
            return self._split(self.data_set.splits[split]).total()
        except (SpecError, files.FileError):
            return None  # `errors` says so; a plan goes on without it

    def table(self, split: str) -> pa.Table:
        """See `Source.table`."""
        return self._split(self.data_set.splits[split]).table()

    @property
    def _first_split(self) -> str:
        """The split whose folders name the classes."""
        return self.data_set.splits.get("train", self.data_set.needed[0])

    def _split(self, name: str) -> TableSplit | ImageSplit:
        if name not in self._found:
            self._found[name] = self._look_for(name)
        return self._found[name]

    def _look_for(self, name: str) -> TableSplit | ImageSplit:
        if class_names(self.folder / name):
            return ImageSplit(self.data_set, self.folder / name, self.class_names)
        try:
            paths = files.split_files(self.folder, name)
        except files.FileError as error:
            raise SpecError([f"{self.where}: {error}; accepted: one of them"]) from error
        if not paths:
            raise SpecError([f"{self.where}: no file of split {name} in {self.folder}; accepted: {files.ACCEPTED}"])
        return TableSplit(self.data_set, name, paths)

    def _split_errors(self, name: str) -> list[str]:
        try:
            return [f"{self.where}: {error}" for error in self._split(name).errors()]
        except SpecError as error:
            return error.errors
        except files.FileError as error:
            return [f"{self.where}: {error}; accepted: {files.ACCEPTED}"]

    def _count_errors(self, folder: Path) -> list[str]:
        """A folder of images with another number of classes than the task has."""
        expected, split = self.data_set.classes, self._first_split
        found = len(class_names(folder / split))
        if not isinstance(expected, int) or found in (0, expected):
            return []
        return [f"{self.where}: split {split} in {folder} has {found} classes; accepted: {expected}"]


def _holds(folder: Path, split: str) -> bool:
    try:
        return bool(files.split_files(folder, split)) or bool(class_names(folder / split))
    except files.FileError:
        return True
