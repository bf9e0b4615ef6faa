"""One split of a data set as files of rows, read as a task wants it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.data import files
from experiments.data.data_set import ID, DataSet

if TYPE_CHECKING:
    import pyarrow as pa


class TableSplit:
    """The files of a split.

    Args:
        data_set: which columns are read.
        split: the data set's own name of it.
        paths: its files, in the order of their rows.
    """

    def __init__(self, data_set: DataSet, split: str, paths: Sequence[Path]) -> None:
        self.data_set, self.split, self.paths = data_set, split, paths

    def files(self) -> dict[str, Path]:
        """The files by what counts of where they are: order and format are in their names."""
        return {path.name: path for path in self.paths}

    def errors(self) -> list[str]:
        """One line for each column that is not there, from the files' headers.

        Raises:
            FileError: if a file cannot be read.
        """
        where = f"split {self.split} in {self.paths[0].parent}"
        present = files.columns(self.paths, self.data_set.aliases)
        if not present:
            return [f"{where} has no rows; accepted: one or more"]
        return [
            f"{where} has no column {name}; it has {', '.join(present)}; accepted: the hub's column names "
            f"{', '.join(self.data_set.columns)}"
            for name in self.data_set.columns
            if name not in present
        ]

    def total(self) -> int:
        """The number of rows.

        Raises:
            FileError: if a file cannot be read.
        """
        return files.row_count(self.paths)

    def table(self) -> pa.Table:
        """The inputs, the label and, where there is one, the column of ids.

        Raises:
            FileError: if a file cannot be read, or lacks a column.
        """
        errors = self.errors()
        if errors:
            raise files.FileError(errors[0])
        text = self.data_set.text_columns
        values = [name for name in (*self.data_set.columns, ID) if name not in text]
        return files.table(self.paths, text, values, self.data_set.aliases)
