"""Columns of any type that a file can have, as the few types that a task reads."""

from __future__ import annotations

import pyarrow as pa


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column whose values stand in a dictionary, with these values; any other as it is."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """A column of text as strings; None where it holds something else, bytes that are not UTF-8 included."""
    column, types = plain(column), pa.types
    text = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
    binary = (types.is_binary, types.is_large_binary, types.is_binary_view)
    if not any(is_kind(column.type) for is_kind in (*text, *binary)):
        return None
    try:
        return column.cast(pa.string())
    except pa.ArrowException:
        return None


def as_ids(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """A column of ids as int64 or strings; None where it holds something else, integers from 2^63 on included."""
    column = plain(column)
    if not pa.types.is_integer(column.type):
        return as_text(column)
    try:
        return column.cast(pa.int64())
    except pa.ArrowException:
        return None


def as_images(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """A column of images as structs of the bytes of a file and its path; None where it holds something else."""
    try:
        return column.cast(pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    except pa.ArrowException:
        return None
