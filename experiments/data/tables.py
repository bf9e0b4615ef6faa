"""One split of a data set as files of rows, read as a task wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from experiments.data import labels, shards
from experiments.data.columns import plain
from experiments.data.data_set import FROM_FOLDER, ID, DataSet
from experiments.data.files import FileError, RowFile
from experiments.errors import shorten


@dataclass(frozen=True)
class _Part:
    """One file of a split.

    Attributes:
        file: to be read.
        header: the names of its columns.
        called: those that are read, by what they are called here.
    """

    file: RowFile
    header: Sequence[str]
    called: Mapping[str, str]


class TableSplit:
    """The files of a split.

    Args:
        data_set: which columns are read.
        split: the data set's own name of it.
        paths: its files, in the order of their rows.
    """

    def __init__(self, data_set: DataSet, split: str, paths: Sequence[Path]) -> None:
        self.data_set, self.split, self.paths = data_set, split, paths
        self._notes: list[str] = []

    @property
    def where(self) -> str:
        """The split, for errors."""
        return f"split {self.split} in {shorten(str(self.paths[0].parent))}"

    def files(self) -> dict[str, Path]:
        """The files by what counts of where they are: order and format are in their names."""
        return {path.name: path for path in self.paths}

    def notes(self) -> list[str]:
        """What has to be said of how the rows were read."""
        return self._notes

    def renamed(self) -> dict[str, str]:
        """The columns that are read under another name than their own because the task says so, aliases apart.

        Raises:
            FileError: if a file cannot be read.
        """
        others = {ours: theirs for part in self._parts for ours, theirs in part.called.items() if ours != theirs}
        return {ours: theirs for ours, theirs in others.items() if theirs not in self.data_set.aliases}

    def errors(self) -> list[str]:
        """One line for each column that is not there, or there twice, from the files' headers.

        Raises:
            FileError: if a file cannot be read.
        """
        return list(dict.fromkeys(error for part in self._parts for error in self._part_errors(part)))

    def total(self) -> int:
        """The number of rows.

        Raises:
            FileError: if a file cannot be read.
        """
        return sum(part.file.row_count() for part in self._parts)

    def table(self) -> pa.Table:
        """The inputs, the label and, where there is one, the column of ids.

        Raises:
            FileError: if a file cannot be read, or lacks a column.
        """
        if errors := self.errors():
            raise FileError(*errors[0].split("; accepted: ", 1))
        tables = [self._read(part) for part in self._parts]
        shared = [name for name in tables[0].column_names if all(name in table.column_names for table in tables)]
        try:
            return pa.concat_tables([table.select(shared) for table in tables], promote_options="permissive")
        except pa.ArrowException as error:
            names = shards.listed([path.name for path in self.paths])
            raise FileError(f"{self.where}: {names} hold columns of different types ({error})", "one type") from error

    @cached_property
    def _parts(self) -> list[_Part]:
        return [self._part(path) for path in self.paths]

    def _part(self, path: Path) -> _Part:
        file, names = RowFile(path), self.data_set.original_header
        header: Sequence[str] = file.header()
        if file.is_delimited and len(header) == len(names) and not self.data_set.called(header):
            file, header = RowFile(path, names), names
        return _Part(file, header, self.data_set.called(header))

    def _part_errors(self, part: _Part) -> list[str]:
        where = self.where if len(self.paths) == 1 else f"{self.where}: {part.file.path.name}"
        if not part.header:
            return [f"{where} has no rows; accepted: one or more"]
        missing = [name for name in self.data_set.columns if name not in part.called]
        twice = [name for name in part.called.values() if part.header.count(name) > 1]
        return [
            *(f"{where} {self._missing(name, part.header)}" for name in missing),
            *(f"{where} has column {name} {part.header.count(name)} times; accepted: once" for name in twice),
            *self._class_errors(part, where),
        ]

    def _missing(self, name: str, header: Sequence[str]) -> str:
        there = shorten(", ".join(other if other.isprintable() else ascii(other) for other in header))
        return (
            f"has no column {self.data_set.looked_for(name)}; it has {there}; accepted: the hub's column names "
            f"{', '.join(self.data_set.columns)}, or {self.data_set.key}.columns={{{name}: NAME}}"
        )

    def _class_errors(self, part: _Part, where: str) -> list[str]:
        schema, classes = part.file.schema(), self.data_set.classes
        label = part.called.get(self.data_set.label)
        if schema is None or label is None or classes == FROM_FOLDER:
            return []
        try:
            fault = labels.order_fault(classes, labels.declared(schema, label))
        except ValueError as error:
            fault = f"{error}; accepted: what the `datasets` library writes, or no such metadata"
        return [f"{where}: {fault}"] if fault else []

    def _read(self, part: _Part) -> pa.Table:
        theirs = {ours: theirs for ours, theirs in part.called.items() if ours in (*self.data_set.columns, ID)}
        text = [theirs[name] for name in self.data_set.text_columns]
        values = [name for name in theirs.values() if name not in text]
        table, note = part.file.read(text, values, theirs[self.data_set.label])
        if note:
            self._notes.append(f"{self.where}: {part.file.path.name}: {note}")
        return pa.table({ours: plain(table[name]) for ours, name in theirs.items()})
