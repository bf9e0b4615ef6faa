"""The interface between a run and its rows, wherever these are: what is wrong with them, what they are, the rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pydantic import JsonValue

from experiments.data import files
from experiments.data.data_set import FROM_FOLDER, Classes, DataSet, overlaps
from experiments.data.references import Reference
from experiments.data.requirements import Requirement
from experiments.errors import SpecError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


class Source(ABC):
    """The rows of one data set in one place, found once and then known.

    Splits go by the run's names: "train", "selection", "test", and those of further tests.
    """

    def __init__(self, data_set: DataSet) -> None:
        self.data_set = data_set
        self._notes: list[str] = []

    @property
    @abstractmethod
    def where(self) -> str:
        """The setting that says where the rows are, with its value: what errors begin with."""

    @property
    def notes(self) -> list[str]:
        """What has to be said of the source, once its reference is known."""
        return self._notes

    @property
    def splits(self) -> list[str]:
        """The run's names of the splits that it has."""
        return list(self.data_set.splits)

    @property
    def tests(self) -> list[str]:
        """Those of them that are tests."""
        return self.data_set.tests

    @property
    def requirements(self) -> list[Requirement]:
        """What is needed of the hub."""
        return []

    @property
    def classes(self) -> Classes:
        """The classes of the labels; where the task leaves them to a folder of images, the names of its folders.

        Raises:
            SpecError: if it does so, and there is no such folder.
        """
        if self.data_set.classes == FROM_FOLDER:
            raise SpecError([f"{self.where}: {self.data_set.task} is a folder of images; accepted: data=local"])
        return self.data_set.classes

    def errors(self) -> list[str]:
        """One line for each folder, split or column that is wrong; reads no rows, and asks no hub."""
        return [*overlaps([self.data_set]), *self.own_errors()]

    @abstractmethod
    def own_errors(self) -> list[str]:
        """One line for each thing wrong in this place."""

    @abstractmethod
    def reference(self) -> dict[str, JsonValue]:
        """What the rows are, for a run's identity (docs/RECORD.md, "data_reference").

        Raises:
            SpecError: if it cannot be known, as the rows are not there.
        """

    def matches(self, reference: Reference) -> bool:
        """Whether the rows are those of a reference, as far as that says; records of identity 1 say less.

        Raises:
            SpecError: see `reference`.
        """
        found = self.reference()
        return all(found.get(key) == value for key, value in reference.items() if key != "test_sets")

    @abstractmethod
    def total(self, split: str) -> int | None:
        """The number of rows of a split; None where it is not known without a download, or the split is not there."""

    @abstractmethod
    def table(self, split: str) -> pa.Table:
        """The rows of a split as they are: inputs, label and, where there is one, the column of ids.

        Raises:
            SpecError: if they are not there.
            FileError: if a file of them cannot be read.
        """

    def rows(self, split: str) -> datasets.Dataset:
        """The rows of a split, checked: inputs, label and `example_id`.

        Raises:
            SpecError: if they are not there, cannot be read, or are not what the task says.
        """
        from experiments.data import labels
        from experiments.data.rows import checked  # the `datasets` library: a run that is recorded needs no rows

        name = self.data_set.splits[split]
        try:
            table = self.table(split)
        except files.FileError as error:
            raise SpecError([f"{self.where}: {error}; accepted: {error.accepted}"]) from error
        if not len(table):
            raise SpecError([f"{self.where}: split {name} has no rows; accepted: at least one"])
        if note := labels.note(self.data_set, self.classes, table):
            self._notes.append(f"{self.where}: {note}")
        return checked(self.data_set, self.classes, table, f"{self.where}: split {name}", name)


class WithTestSets(Source):
    """The rows of one data set to train on, and of others to be tested on.

    Args:
        main: what trains and selects.
        test_sets: by the run's names of the tests; their rows are their own "test".
    """

    def __init__(self, main: Source, test_sets: Mapping[str, Source]) -> None:
        super().__init__(main.data_set)
        self.main, self.test_sets = main, test_sets

    @property
    def where(self) -> str:
        """See `Source.where`."""
        return self.main.where

    @property
    def notes(self) -> list[str]:
        """See `Source.notes`."""
        return list(dict.fromkeys(note for part in self._parts for note in part.notes))

    @property
    def splits(self) -> list[str]:
        """See `Source.splits`."""
        return [*self.main.splits, *self.test_sets]

    @property
    def tests(self) -> list[str]:
        """See `Source.tests`."""
        return list(self.test_sets)

    @property
    def requirements(self) -> list[Requirement]:
        """See `Source.requirements`."""
        return [needed for part in self._parts for needed in part.requirements]

    @property
    def classes(self) -> Classes:
        """See `Source.classes`."""
        return self.main.classes

    @property
    def _parts(self) -> list[Source]:
        return [self.main, *self.test_sets.values()]

    def errors(self) -> list[str]:
        """See `Source.errors`."""
        return [*overlaps(part.data_set for part in self._parts), *self.own_errors()]

    def own_errors(self) -> list[str]:
        """See `Source.own_errors`."""
        return list(dict.fromkeys(error for part in self._parts for error in part.own_errors()))

    def reference(self) -> dict[str, JsonValue]:
        """See `Source.reference`; that of each test set stands below `test_sets`, by the run's name of the test."""
        return {**self.main.reference(), "test_sets": {name: part.reference() for name, part in self.test_sets.items()}}

    def matches(self, reference: Reference) -> bool:
        """See `Source.matches`."""
        tests = references_of_tests(reference, self.test_sets)
        return (
            self.main.matches(reference)
            and tests.keys() == self.test_sets.keys()
            and all(part.matches(tests[name]) for name, part in self.test_sets.items())
        )

    def total(self, split: str) -> int | None:
        """See `Source.total`."""
        source, own = self._at(split)
        return source.total(own)

    def table(self, split: str) -> pa.Table:
        """See `Source.table`."""
        source, own = self._at(split)
        return source.table(own)

    def rows(self, split: str) -> datasets.Dataset:
        """See `Source.rows`."""
        source, own = self._at(split)
        return source.rows(own)

    def _at(self, split: str) -> tuple[Source, str]:
        return (self.test_sets[split], "test") if split in self.test_sets else (self.main, split)


def references_of_tests(reference: Reference, names: Iterable[str]) -> dict[str, Reference]:
    """The references of a task's test sets by name; identity 1 has them without, in the order of the task.

    Args:
        reference: of a task's rows.
        names: of the test sets, in that order.
    """
    tests = reference.get("test_sets", {})
    named = dict(zip(names, tests, strict=False)) if isinstance(tests, list) else tests
    return {name: part for name, part in named.items() if isinstance(part, dict)} if isinstance(named, dict) else {}
