"""Columns of any type that a file can have, as the few types that a task reads."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
"""An image that is not decoded, as the `datasets` library holds it."""


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
    """A column of image files, whose bytes stand alone or in structs, as structs of `bytes` and `path`.

    A row without bytes is null; None where the column holds no bytes at all, but paths, pixels or something else.
    """
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_null)
    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if not any(is_kind(column.type) for is_kind in kinds):
        return None
    return pa.chunked_array([_images(chunk) for chunk in column.cast(pa.binary()).chunks], _IMAGE)


def _images(contents: pa.Array) -> pa.StructArray:
    parts = [contents, pa.nulls(len(contents), pa.string())]
    return pa.StructArray.from_arrays(parts, fields=list(_IMAGE), mask=pc.is_null(contents))
