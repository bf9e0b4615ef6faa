"""Files of rows: their columns without their rows, and their rows.

Parquet, Arrow (as the `datasets` library and as Feather write it), JSON (`json_rows`), CSV and tab-separated text
(`delimited`); the text formats in UTF-8, with or without a byte order mark, also as `.gz`. Files are only read.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeVar

import pyarrow as pa
import pyarrow.parquet

from experiments.data import delimited, json_rows, shards
from experiments.errors import shorten

ACCEPTED = (
    "SPLIT.parquet, .jsonl, .json, .csv or .tsv (text also .gz), all its shards SPLIT-00000-of-00002.parquet, or what "
    "save_to_disk writes"
)
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON = "JSON in UTF-8: one object a line, a list of objects, or one object of columns"
_READABLE = {".parquet": "a whole Parquet file", ".arrow": "a whole Arrow file", ".jsonl": _JSON, ".json": _JSON}
_FIELDS = "text in UTF-8 with a field for each column in every row, and quotation marks in pairs"
_Result = TypeVar("_Result")


class FileError(ValueError):
    """A split that is not there or cannot be read.

    Args:
        what: which file, and what is wrong with it.
        accepted: what would be accepted in its place.
    """

    def __init__(self, what: str, accepted: str = ACCEPTED) -> None:
        super().__init__(what)
        self.accepted = accepted


@dataclass(frozen=True)
class RowFile:
    """A file of rows.

    Attributes:
        path: of the file.
        names: of its columns, where its first line does not hold them; otherwise empty.
    """

    path: Path
    names: Sequence[str] = ()

    @property
    def is_delimited(self) -> bool:
        """Whether the names of its columns stand in its first line, if anywhere."""
        return self._format in _DELIMITERS

    def header(self) -> list[str]:
        """The names of its columns, from the schema, the first line or the first row; empty where there are no rows.

        Raises:
            FileError: if it cannot be read.
        """
        return self._readable(self._header)

    def schema(self) -> pa.Schema | None:
        """The types and metadata that the file itself says; None of text.

        Raises:
            FileError: if it cannot be read.
        """
        return self._readable(self._schema)

    def read(self, text: Sequence[str], values: Sequence[str], label: str) -> tuple[pa.Table, str | None]:
        """Some columns of all rows, and what a person should know of how they were read.

        Args:
            text: columns that CSV holds as text, whatever it looks like.
            values: the other columns.
            label: the one of them that is the label.

        Raises:
            FileError: if it cannot be read.
        """
        return self._readable(lambda: self._read(text, values, label))

    def row_count(self) -> int:
        """The number of rows; from the metadata where the format has some.

        Raises:
            FileError: if it cannot be read.
        """
        return self._readable(self._count)

    @property
    def _format(self) -> str:
        return shards.ending(self.path).removesuffix(".gz")

    @property
    def _accepted(self) -> str:
        accepted = _READABLE.get(self._format, _FIELDS)
        return f"{accepted}, compressed as a whole" if self.path.name.lower().endswith(".gz") else accepted

    def _readable(self, read: Callable[[], _Result]) -> _Result:
        try:
            return read()
        except (OSError, EOFError, zlib.error, ValueError, pa.ArrowException, RecursionError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
            raise FileError(f"{shorten(str(self.path))} cannot be read ({shorten(why)})", self._accepted) from error

    def _header(self) -> list[str]:
        if (schema := self._schema()) is not None:
            return list(schema.names)
        with self._opened() as file:
            if self.is_delimited:
                return list(self.names) or delimited.header(file, _DELIMITERS[self._format])
            return json_rows.keys(file)

    def _schema(self) -> pa.Schema | None:
        if self._format == ".parquet":
            return pa.parquet.read_schema(self.path)
        return self._arrow().schema if self._format == ".arrow" else None

    def _arrow(self) -> pa.Table:
        """What `datasets` writes is a stream, and Feather a file."""
        with pa.memory_map(str(self.path)) as source:
            try:
                return pa.ipc.open_stream(source).read_all()
            except pa.ArrowInvalid:
                return pa.ipc.open_file(source).read_all()

    def _read(self, text: Sequence[str], values: Sequence[str], label: str) -> tuple[pa.Table, str | None]:
        names = [*text, *values]
        if self._format == ".parquet":
            # Read as one file: a folder called a=b above it is no partition column.
            return pa.parquet.read_table(self.path, columns=names, partitioning=None), None
        if self._format == ".arrow":
            return self._arrow().select(names), None
        content = self._content()
        if not self.is_delimited:
            return json_rows.table(content, names), None
        found = delimited.read(content, _DELIMITERS[self._format], self.names, label)
        columns = {**{name: found.texts(name) for name in text}, **{name: found.values(name) for name in values}}
        return pa.table(columns), found.note

    def _count(self) -> int:
        if self._format == ".parquet":
            return int(pa.parquet.read_metadata(self.path).num_rows)
        if self._format == ".arrow":
            return int(self._arrow().num_rows)
        content = self._content()
        if not self.is_delimited:
            return len(json_rows.rows(content))
        return len(delimited.read(content, _DELIMITERS[self._format], self.names).rows)

    def _content(self) -> str:
        with self._opened(newline="") as file:
            return file.read()

    def _opened(self, newline: str | None = None) -> TextIO:
        open_text = gzip.open if self.path.name.lower().endswith(".gz") else open
        return open_text(self.path, "rt", encoding="utf-8-sig", newline=newline)
