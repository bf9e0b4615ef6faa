"""Rows of text, labels and solutions, written as files of every format and damaged in every way."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Change = Callable[[list[Row]], Sequence[Row]]
Write = Callable[[Path, Sequence[Row]], None]


def sentences(count: int) -> list[Row]:
    """Rows as those of SST-2."""
    return [{"sentence": f"the dog {('finds', 'loses')[i % 2]} {i}", "label": i % 2, "idx": i} for i in range(count)]


def problems(count: int) -> list[Row]:
    """Rows as those of GSM8K."""
    return [{"question": f"what is {i} + 1 ?", "answer": f"{i} + 1 = {i + 1}\n#### {i + 1}"} for i in range(count)]


def first(**changes: Any) -> Change:
    """Other values in the first row."""
    return lambda rows: [{**rows[0], **changes}, *rows[1:]]


def every(**changes: Any) -> Change:
    """Other values in every row."""
    return lambda rows: [{**row, **changes} for row in rows]


def without(column: str) -> Change:
    """No such column."""
    return lambda rows: [{name: value for name, value in row.items() if name != column} for row in rows]


def jsonl(path: Path, rows: Sequence[Row]) -> None:
    """A line for each row."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def parquet(path: Path, rows: Sequence[Row]) -> None:
    """A table; values that have no common type are text."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        table = pa.Table.from_pylist(list(rows))
    except (pa.ArrowException, OverflowError):
        table = pa.Table.from_pylist([{name: str(value) for name, value in row.items()} for row in rows])
    pyarrow.parquet.write_table(table, path)


def separated(separator: str) -> Write:
    """A line for each row, and one of names."""

    def write(path: Path, rows: Sequence[Row]) -> None:
        path.write_text(_lines(rows, separator), encoding="utf-8")

    return write


def zipped(path: Path, rows: Sequence[Row]) -> None:
    """CSV in gzip."""
    path.write_bytes(gzip.compress(_lines(rows, ",").encode()))


def _lines(rows: Sequence[Row], separator: str) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]) if rows else ["sentence", "label"], delimiter=separator)
    table.writeheader()
    table.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return text.getvalue()


WRITERS: Mapping[str, Write] = {
    "parquet": parquet,
    "jsonl": jsonl,
    "csv": separated(","),
    "tsv": separated("\t"),
    "csv.gz": zipped,
}
"""What writes rows, by the ending of the file."""

BYTES: Mapping[str, bytes] = {
    "nothing": b"",
    "a number": b"5",
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
    "half a line": b'{"sentence": "a',
    "brackets": b"[" * 5000,
    "zeros": b"\0" * 100,
    "not UTF-8": b'{"sentence": "\xff\xfe", "label": 0}\n' * 40,
    "the magic of parquet": b"PAR1",
    "a pickle": b"\x80\x04\x95\x00.",
    "an archive": b"PK\x03\x04",
    "a column of names": b"sentence,label\n",
    "lines without a name": b"one,1\ntwo,0\n",
}
"""Contents of files that hold no rows."""
