"""CSV and tab-separated text as rows: which quotation marks quote, and which belong to the text.

CSV is read as RFC 4180 has it. Tab-separated files come in two kinds, told apart by all that is in one: GLUE's own
quote nothing, and a mark is part of a sentence; those of pandas and of spreadsheets quote a field that holds one, and
double it.
"""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

_QUOTE = '"'

_FIELD = r'(?:"(?:[^"]|"")*+"|[^"\t]*+)'
_ENCLOSED = re.compile(rf"{_FIELD}(?:\t{_FIELD})*+")
"""Fields that are either within quotation marks or without any."""


@dataclass(frozen=True)
class _Record:
    """A row: its fields, and the lines from `first` on that it takes."""

    fields: list[str]
    first: int
    lines: Sequence[str]


@dataclass(frozen=True)
class Rows:
    """The rows of a file.

    Attributes:
        names: of the columns.
        rows: the fields of each.
        note: what a person should know of how they were read.
    """

    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str | None = None

    def texts(self, name: str) -> pa.Array:
        """A column as it is written."""
        return pa.array(self._column(name), pa.string())

    def values(self, name: str) -> pa.Array:
        """A column whose empty fields are null: integers where all of it are, as these are usually written."""
        column = pa.array([field or None for field in self._column(name)], pa.string())
        try:
            numbers = column.cast(pa.int64())
        except pa.ArrowException:
            return column
        return numbers if numbers.cast(pa.string()).equals(column) else column

    def _column(self, name: str) -> list[str]:
        place = self.names.index(name)
        return [row[place] for row in self.rows]


def header(lines: Iterable[str], delimiter: str) -> list[str]:
    """The fields of the first line that is not empty; none where there is none.

    Raises:
        ValueError: if the quotation marks in a line of CSV do not match.
    """
    first = next((line for text in lines for line in _lines(text) if line), "")
    try:
        return next((record.fields for record in _records([first], delimiter)), [])
    except ValueError:
        if delimiter == ",":
            raise
        return first.split(delimiter)


def read(content: str, delimiter: str, names: Sequence[str], label: str | None = None) -> Rows:
    """The rows of a file.

    Args:
        content: of the file.
        delimiter: between fields.
        names: of the columns, where the first line does not hold them; otherwise empty.
        label: the column by which lines within quotation marks are found to be rows.

    Raises:
        ValueError: naming the line, if a row has more or fewer fields than there are columns, or a quotation mark is
            not closed or takes in the rows behind it.
    """
    lines, start = _lines(content), 0
    if not names:
        names = header(lines, delimiter)
        start = next((number for number, line in enumerate(lines, start=1) if line), 0)
    body, width, note = lines[start:], len(names), None
    if delimiter == "\t":
        enclosed = start > 0 and lines[start - 1].startswith(_QUOTE)
        records, note = _tab_separated(body, start, width, enclosed=enclosed)
    else:
        records = list(_records(body, delimiter, start))
    _require_width(records, width)
    if label in names:
        _require_own_lines(records, delimiter, width, names.index(label))
    return Rows(names, [record.fields for record in records], note)


def _lines(content: str) -> list[str]:
    """The lines of a text, without their ends; a carriage return alone ends them where nothing else does."""
    lines = content.split("\n" if "\n" in content else "\r")
    return [line.removesuffix("\r") for line in lines]


def _records(lines: Iterable[str], delimiter: str, before: int = 0) -> Iterator[_Record]:
    """Rows with quotation marks that quote; `before` lines stand before them."""
    csv.field_size_limit(sys.maxsize)
    taken: list[str] = []

    def ended() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line + "\n"

    reader = csv.reader(ended(), delimiter=delimiter, strict=True)
    while True:
        first = before + reader.line_num + 1
        taken.clear()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"line {first}: {_fault(error)}") from error
        if fields:
            yield _Record(fields, first, tuple(taken))


def _fault(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "its quotation mark is never closed"
    return "text behind a closing quotation mark" if "expected after" in str(error) else str(error)


def _tab_separated(lines: list[str], before: int, width: int, *, enclosed: bool) -> tuple[list[_Record], str | None]:
    """Rows of tab-separated text, and a note where its marks can be read in both ways.

    Marks quote where that alone gives rows of one width. Where both readings do, they quote if every field with a mark
    is enclosed in them, and one holds a doubled mark, or the names in the header are `enclosed` too, or just those with
    a comma are: spreadsheets quote these whatever the delimiter.
    """
    numbered = enumerate(lines, start=before + 1)
    plain = [_Record(line.split("\t"), number, (line,)) for number, line in numbered if line]
    if not any(_QUOTE in line for line in lines):
        return plain, None
    fits = all(len(record.fields) == width for record in plain)
    try:
        quoted = list(_records(lines, "\t", before))
    except ValueError:
        return plain, None
    if any(len(record.fields) != width for record in quoted):
        return plain, None
    if not fits:
        return quoted, None
    if len(quoted) < len(plain) or not all(_ENCLOSED.fullmatch(record.lines[0]) for record in quoted):
        return plain, None
    if enclosed or any(_QUOTE in field for record in quoted for field in record.fields) or _quotes_commas(plain):
        return quoted, None
    count = sum(_QUOTE in record.lines[0] for record in quoted)
    return plain, f"the quotation marks around fields of {count} rows are read as part of the text"


def _quotes_commas(records: Iterable[_Record]) -> bool:
    return all(("," in field) == field.startswith(_QUOTE) for record in records for field in record.fields)


def _require_width(records: Iterable[_Record], width: int) -> None:
    for record in records:
        if len(record.fields) != width:
            raise ValueError(f"line {record.first}: {len(record.fields)} fields, where there are {width} columns")


def _require_own_lines(records: Sequence[_Record], delimiter: str, width: int, label: int) -> None:
    """Refuse a row whose lines would each be a row of their own, with a label like those of others."""
    several = [record for record in records if len(record.lines) > 1]
    if not several:
        return
    labels = {record.fields[label] for record in records if len(record.lines) == 1}
    numeric = all(map(_is_number, labels))
    for record in several:
        rows = [line.split(delimiter) for line in record.lines]
        values = [row[label] for row in rows if len(row) == width]
        if len(values) == len(rows) and all(value in labels or (numeric and _is_number(value)) for value in values):
            last = record.first + len(rows) - 1
            raise ValueError(f"line {record.first}: its quotation mark takes in the rows up to line {last}")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
