"""Rows from a folder: files of rows, or folders of images."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from experiments.configuration.digests import file_digest
from experiments.data import files, image_folders, image_layout, layouts, shards
from experiments.data.data_set import FROM_FOLDER, Classes, DataSet
from experiments.data.image_folders import ImageSplit, class_names
from experiments.data.references import Reference, content
from experiments.data.source import Source
from experiments.data.tables import TableSplit
from experiments.errors import SpecError, shorten

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
        return f"data.path={shorten(self._path)}"

    @property
    def notes(self) -> list[str]:
        """See `Source.notes`."""
        images = {name: split.root for name, split in self._found.items() if isinstance(split, ImageSplit)}
        found = image_layout.notes(self.folder, images) if images else []
        found += [note for split in self._found.values() for note in split.notes()]
        return [*super().notes, *(f"{self.where}: {note}" for note in found)]

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
        if split not in self._image_folders:
            raise SpecError(
                [
                    f"{self.where}: no folder {split} in {self.folder} with a folder for each class"
                    f"{image_layout.advice(self.folder)}; accepted: {image_folders.ACCEPTED}"
                ]
            )
        return class_names(self._image_folders[split])

    @cached_property
    def folder(self) -> Path:
        """The first of the places that holds a split.

        Raises:
            SpecError: if none does, or the path leads nowhere.
        """
        splits = self.data_set.needed
        images = "SPLIT/CLASS/*.jpg (or .png, ...), or as " if self.data_set.input_type == "image" else ""
        accepted = f"accepted: a folder with {' and '.join(splits)} as {images}{files.ACCEPTED}"
        try:
            root = Path(self._path).expanduser()
            if not root.is_dir():
                raise SpecError([f"{self.where}: no such folder; {accepted}"])
        except (OSError, RuntimeError) as error:  # a name that is too long, a home that is nobody's
            raise SpecError([f"{self.where}: no such folder ({_reason(error)}); {accepted}"]) from error
        places = self._places(root)
        for place in places:
            if self._images_in(place) or any(_holds(place, split) for split in splits):
                return place
        looked = ", ".join(map(str, places))
        raise SpecError([f"{self.where}: no split of {self.data_set.task} in {looked}{self._there(root)}; {accepted}"])

    @cached_property
    def _image_folders(self) -> dict[str, Path]:
        """The splits that are folders of images, and where they are."""
        return self._images_in(self.folder)

    def _images_in(self, folder: Path) -> dict[str, Path]:
        if self.data_set.input_type != "image":
            return {}
        try:
            return image_layout.split_folders(folder, self.data_set.needed)
        except files.FileError as error:
            raise self._refusal(error) from error

    def _places(self, root: Path) -> list[Path]:
        """Folders that may hold the rows, the nearest first: named as the task, as on the hub, or not at all."""
        name, configuration = self.data_set.name, self.data_set.hub.name
        names = [name, name.rpartition("/")[2], *([configuration] if isinstance(configuration, str) else []), "."]
        places = [root / name / within for name in dict.fromkeys(names) for within in (".", "data")]
        return [place for place in places if place.is_dir()]

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
            renamed = {name: split.renamed() for name, split in splits.items() if isinstance(split, TableSplit)}
        except OSError as error:
            raise SpecError(
                [f"{self.where}: {error.filename} cannot be read ({error.strerror}); accepted: a readable file"]
            ) from error
        except files.FileError as error:
            raise self._refusal(error) from error
        if any(renamed.values()):
            found["columns"] = {name: {**columns} for name, columns in renamed.items()}
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
        if name in self._image_folders:
            return ImageSplit(self.data_set, self._image_folders[name], self.class_names)
        try:
            paths = layouts.local_files(self.folder, name)
        except files.FileError as error:
            raise self._refusal(error) from error
        if not paths:
            accepted = image_folders.ACCEPTED if self._image_folders else files.ACCEPTED
            keys = [self.data_set.split_key(run) for run, own in self.data_set.splits.items() if own == name]
            raise SpecError(
                [
                    f"{self.where}: no file of split {name} in {self.folder}{self._there(self.folder)}; accepted: "
                    f"{accepted}; or {keys[0]}=SPLIT"
                ]
            )
        return TableSplit(self.data_set, name, paths)

    def _refusal(self, error: files.FileError) -> SpecError:
        return SpecError([f"{self.where}: {error}; accepted: {error.accepted}"])

    def _there(self, folder: Path) -> str:
        """What is in a folder in place of a split, as the end of a sentence."""
        advice = image_layout.advice(folder) if self.data_set.input_type == "image" else ""
        try:
            names = sorted(path.name for path in folder.iterdir())
        except OSError:
            return ""
        if advice:
            return advice
        return f", which has {shorten(shards.listed(names))}" if names else ", which is empty"

    def _split_errors(self, name: str) -> list[str]:
        try:
            return [f"{self.where}: {error}" for error in self._split(name).errors()]
        except SpecError as error:
            return error.errors
        except files.FileError as error:
            return self._refusal(error).errors

    def _count_errors(self, folder: Path) -> list[str]:
        """A folder of images with another number of classes than the task has."""
        expected, split = self.data_set.classes, self._first_split
        images = self._image_folders.get(split)
        found = len(class_names(images)) if images else 0
        if not isinstance(expected, int) or found in (0, expected):
            return []
        return [f"{self.where}: split {split} in {folder} has {found} classes; accepted: {expected}"]


def _holds(folder: Path, split: str) -> bool:
    try:
        return bool(layouts.local_files(folder, split))
    except files.FileError:
        return True


def _reason(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) else error)
