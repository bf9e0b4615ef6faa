"""Splits of a data set as files in a folder: finding them, their columns without their rows, their rows.

`SPLIT.parquet`, `SPLIT-*.parquet` (shards), `SPLIT.jsonl`, `.json`, `.csv`, `.tsv`, the text formats also as `.gz`; and
the Arrow files of the `datasets` library's cache. Folders are only read.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TextIO, TypeVar

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from experiments.data.hub_cache import holds_split

FORMATS = (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv")
ACCEPTED = "SPLIT.parquet, SPLIT-*.parquet, or SPLIT.jsonl, .json, .csv, .tsv (also .gz)"
_TEXT_FORMATS = FORMATS[2:]
_Result = TypeVar("_Result")


class FileError(ValueError):
    """A split that is not there or cannot be read; the message says which file and why."""


def split_files(folder: Path, split: str) -> list[Path]:
    """The files of a split, in the order of their names; empty if there are none.

    Raises:
        FileError: if the split is there in more than one format.
    """
    found = [path for path in sorted(folder.glob(f"*{split}*")) if path.is_file() and _suffix(path) in FORMATS]
    files = [path for path in found if holds_split(path, split) or _is_shard(path, split)]
    if len({"".join(path.suffixes) for path in files}) > 1 or (len(files) > 1 and _suffix(files[0]) in _TEXT_FORMATS):
        names = ", ".join(path.name for path in files)
        raise FileError(f"split {split} of {folder} is there more than once ({names})")
    return files


def columns(files: Iterable[Path], aliases: Mapping[str, str] | None = None) -> list[str]:
    """Column names that all files of a split share, from the schema or the first line; no row is kept.

    Args:
        files: of one split.
        aliases: other names of columns, and what they are called here.

    Raises:
        FileError: if a file cannot be read.
    """
    shared: list[str] | None = None
    for path in files:
        names = _renamed(_columns(path), aliases or {})
        shared = names if shared is None else [name for name in shared if name in names]
    return shared or []


def table(
    files: Iterable[Path], text: Iterable[str], values: Iterable[str], aliases: Mapping[str, str] | None = None
) -> pa.Table:
    """The rows of a split.

    Args:
        files: of one split.
        text: columns read as text, whatever a CSV file's first rows look like.
        values: columns of the type that the file has; those that it lacks are left out.
        aliases: other names of columns, and what they are called here.

    Raises:
        FileError: if a file cannot be read.
    """
    strings = list(text)
    names = [*strings, *values]
    parts = []
    for path in files:
        part = _readable(path, lambda path: _read(path, strings))
        if aliases:  # otherwise the schema's metadata, with the names of the classes, stays
            part = part.rename_columns(_renamed(part.column_names, aliases))
        parts.append(part.select([name for name in names if name in part.column_names]))
    return pa.concat_tables(parts, promote_options="permissive")


def _renamed(names: list[str], aliases: Mapping[str, str]) -> list[str]:
    """The names with aliases resolved, but for those whose own name is there as well."""
    return [name if aliases.get(name, name) in names else aliases[name] for name in names]


def row_count(files: Iterable[Path]) -> int:
    """The number of rows of a split; from the metadata where the format has some.

    Raises:
        FileError: if a file cannot be read.
    """
    return sum(_readable(path, _count) for path in files)


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix if path.name.endswith(".gz") else path.suffix


def _is_shard(path: Path, split: str) -> bool:
    return path.suffix == ".parquet" and path.name.startswith(f"{split}-")


def _readable(path: Path, read: Callable[[Path], _Result]) -> _Result:
    try:
        return read(path)
    except (OSError, EOFError, ValueError, pa.ArrowException) as error:
        raise FileError(f"{path.name} cannot be read ({' '.join(str(error).split())})") from error


def _count(path: Path) -> int:
    return int(pa.parquet.read_metadata(path).num_rows) if _suffix(path) == ".parquet" else int(_read(path).num_rows)


def _columns(path: Path) -> list[str]:
    return _readable(path, _header)


def _header(path: Path) -> list[str]:
    match _suffix(path):
        case ".parquet":
            return list(pa.parquet.read_schema(path).names)
        case ".arrow":
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
                return list(stream.schema.names)
        case ".csv" | ".tsv":
            with pa.csv.open_csv(path, parse_options=_parse_options(path)) as reader:
                return list(reader.schema.names)
    return _first_record_keys(path)


def _first_record_keys(path: Path) -> list[str]:
    with _opened(path) as file:
        first = next((line for line in file if line.strip()), "{}")
        if first.lstrip().startswith("["):
            records = json.loads(first + file.read())
            return list(records[0]) if records else []
    return list(json.loads(first))


def _read(path: Path, text: Iterable[str] = ()) -> pa.Table:
    match _suffix(path):
        case ".parquet":
            # Read as one file: a folder called a=b above it is no partition column.
            return pa.parquet.read_table(path, partitioning=None)
        case ".arrow":
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
                return stream.read_all()
        case ".csv" | ".tsv":
            types = pa.csv.ConvertOptions(column_types=dict.fromkeys(text, pa.string()))
            return pa.csv.read_csv(path, parse_options=_parse_options(path), convert_options=types)
    with _opened(path) as file:
        content = file.read()
    if content.lstrip().startswith("["):
        return pa.Table.from_pylist(json.loads(content))
    # Not splitlines: it also splits at separators that JSON texts may hold unescaped, such as U+2028.
    return pa.Table.from_pylist([json.loads(line) for line in content.split("\n") if line.strip()])


def _parse_options(path: Path) -> pa.csv.ParseOptions:
    # GLUE's own tab-separated files quote nothing: a quotation mark there is part of a sentence.
    if _suffix(path) == ".tsv":
        return pa.csv.ParseOptions(delimiter="\t", quote_char=False)
    return pa.csv.ParseOptions(newlines_in_values=True)


def _opened(path: Path) -> TextIO:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
