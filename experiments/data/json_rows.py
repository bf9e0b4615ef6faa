"""JSON as rows: one object a line, a list of objects, or one object of columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

_LINE_END = re.compile(r"\r\n?|\n")

Record = Mapping[str, Any]


def keys(lines: Iterable[str]) -> list[str]:
    """The names of the columns, which are those of the first row; no more is parsed than that needs.

    Args:
        lines: of the file.

    Raises:
        ValueError: if it does not hold rows, saying why.
    """
    lines = iter(lines)
    first = next((line for line in lines if line.strip()), "")
    second = next((line for line in lines if line.strip()), "")
    if second and isinstance(record := _on_one_line(first), dict):
        return list(record)
    found = rows("".join([first, second, *lines]))
    return list(found[0]) if found else []


def table(content: str, names: Sequence[str]) -> pa.Table:
    """The named columns of all rows; null where a row lacks one.

    Raises:
        ValueError: if the text does not hold rows, or a column values of several types.
    """
    records = rows(content)
    return pa.table({name: _column(name, [record.get(name) for record in records]) for name in names})


def rows(content: str) -> Sequence[Record]:
    """The rows of a file, as objects.

    One object whose values are all lists of one length, or objects with the same keys, is a table by columns.

    Raises:
        ValueError: if it does not hold rows, saying why.
    """
    records = _records(content)
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            raise ValueError(f"row {number} is a {_kind(record)}, not an object with a value for each column")
    return _by_column(records[0]) or records if len(records) == 1 else records


def _records(content: str) -> list[Any]:
    # Not splitlines: it also splits at separators that JSON texts may hold unescaped, such as U+2028.
    lines = [pair for pair in enumerate(_LINE_END.split(content), start=1) if pair[1].strip()]
    if not lines:
        return []
    if len(lines) > 1 and _on_one_line(lines[0][1]) is not None:
        return [_parsed(line, number) for number, line in lines]
    whole = _parsed(content)
    return whole if isinstance(whole, list) else [whole]


def _on_one_line(line: str) -> Any:
    """What a line holds; None where it is not JSON by itself."""
    try:
        return _parsed(line)
    except ValueError:
        return None


def _parsed(text: str, number: int | None = None) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("values too deep within one another") from None
    except json.JSONDecodeError as error:
        where = f"line {number}" if number else f"line {error.lineno}"
        raise ValueError(f"not JSON in {where}, column {error.colno}: {error.msg}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)} twice in one object")
    return found


def _by_column(record: Record) -> list[Record] | None:
    """The rows of a table that is one object of columns; None where it is a row itself."""
    columns = list(record.values())
    if columns and all(isinstance(column, dict) for column in columns):
        if len({tuple(column) for column in columns}) > 1:
            raise ValueError("columns with different rows")
        columns = [list(column.values()) for column in columns]
    if not columns or not all(isinstance(column, list) for column in columns):
        return None
    if len(set(map(len, columns))) > 1:
        raise ValueError("columns of different lengths")
    return [dict(zip(record, values, strict=True)) for values in zip(*columns, strict=True)]


def _column(name: str, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError) as error:
        raise ValueError(f"column {name}: {' '.join(str(error).split())}") from error


def _kind(value: object) -> str:
    words = {"list": "list", "str": "text", "bool": "truth value", "NoneType": "null"}
    return words.get(type(value).__name__, "number")
