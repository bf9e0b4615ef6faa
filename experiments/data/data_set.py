"""What a task reads of a data set, wherever its rows are: which splits, which columns, which classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from schema.sections import HubRows, Task, TestRows

ID = "idx"
"""The column with the data set's own example ids; without it they are the numbers of the rows."""

FROM_FOLDER: Final = "folder"
"""What a task says for its classes where those of a folder of images are meant."""

Classes = list[str] | int | None
"""Names in the order of their ids, or how many; None: a regression, or a text."""

_RUN_SPLITS = ("train", "selection", "test")


@dataclass(frozen=True)
class DataSet:
    """One data set as a task reads it.

    Attributes:
        task: the task's name.
        name: whose rows these are, in a folder of data and of the generator.
        splits: the data set's split by the run's name for it: "train", "selection", "test", or a further test's.
        inputs: the columns that a model is given.
        label: the column of the label.
        classes: `Classes`, or `FROM_FOLDER`.
        hub: where the hub has it.
        input_type: what the input columns hold.
        label_type: what the label column holds.
        columns_by_user: our columns, and what the user says that they are called.
        aliases: other names of columns, and what they are called here.
        original_names: those of the data set's own files.
        original_header: the columns of such files whose first line does not name them.
        label_range: the least and the largest label of a regression.
        key: the dotted key of the section that says all this, for errors.
    """

    task: str
    name: str
    splits: Mapping[str, str]
    inputs: list[str]
    label: str
    classes: list[str] | int | Literal["folder"] | None
    hub: HubRows
    input_type: Literal["text", "image"] = "text"
    label_type: Literal["class", "text"] = "class"
    columns_by_user: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    original_names: Mapping[str, str] = field(default_factory=dict)
    original_header: Sequence[str] = ()
    label_range: Sequence[float] | None = None
    key: str = "task"

    @property
    def needed(self) -> list[str]:
        """The data set's own splits, each once."""
        return list(dict.fromkeys(self.splits.values()))

    @property
    def tests(self) -> list[str]:
        """The run's names of the splits that are tests."""
        return [name for name in self.splits if name not in ("train", "selection")]

    @property
    def columns(self) -> list[str]:
        """The columns without which there is nothing to learn."""
        return [*self.inputs, self.label]

    @property
    def text_columns(self) -> list[str]:
        """The columns that are read as text, whatever a file's first rows look like."""
        label = [self.label] if self.label_type == "text" else []
        return [*(self.inputs if self.input_type == "text" else []), *label]

    def called(self, header: Sequence[str]) -> dict[str, str]:
        """The columns of a file that are read, each by its name here.

        What the user says counts alone; otherwise a column's own name comes before the others that it may have.

        Args:
            header: the names of the file's columns.
        """
        others = {**self.aliases, **self.original_names}
        names = {}
        for ours in (*self.columns, ID):
            if ours in self.columns_by_user:
                candidates = [self.columns_by_user[ours]]
            else:
                candidates = [ours, *(theirs for theirs, name in others.items() if name == ours)]
            found = [theirs for theirs in candidates if theirs in header]
            if found:
                names[ours] = found[0]
        return names

    def looked_for(self, column: str) -> str:
        """What a column is called where the user does not leave that open, and otherwise here."""
        return self.columns_by_user.get(column, column)

    def split_key(self, split: str) -> str:
        """The setting behind the run's name of a split."""
        return f"{self.key}.{'splits' if split in _RUN_SPLITS else 'extra_test'}.{split}"


def data_sets(task: Task) -> tuple[DataSet, dict[str, DataSet]]:
    """The data set of a task, and those that it is tested on by name, where these are others than its own."""
    tests = {name: _tested(rows, f"task.test_sets.{name}") for name, rows in task.tested_on.items()}
    splits = {**task.splits, **task.extra_test}
    own = DataSet(
        task=task.name,
        name=task.rows_of or task.name,
        splits={name: split for name, split in splits.items() if not tests or name in ("train", "selection")},
        inputs=task.inputs,
        label=task.label,
        classes=task.classes,
        hub=task.hub,
        input_type=task.input_type,
        label_type=task.label_type,
        columns_by_user=task.columns,
        aliases=task.aliases,
        original_names=task.original_names,
        original_header=task.original_header,
        label_range=task.label_range,
    )
    return own, tests


def _tested(rows: TestRows, key: str) -> DataSet:
    return DataSet(
        task=rows.name,
        name=rows.name,
        splits={"test": rows.splits["test"]},
        inputs=rows.inputs,
        label=rows.label,
        classes=rows.classes,
        hub=rows.hub,
        label_type=rows.label_type,
        key=key,
    )


def overlaps(sets: Iterable[DataSet]) -> list[str]:
    """One line for each split of a run that has the rows of another: what trains or selects is no test."""
    lines: list[str] = []
    taken: dict[tuple[str, str], str] = {}
    for data_set in sets:
        for name, split in data_set.splits.items():
            key = data_set.split_key(name)
            first = taken.setdefault((data_set.name, split), key)
            if first != key:
                lines.append(f"{key}={split}: the same rows as {first}; accepted: another split of {data_set.name}")
    return lines
