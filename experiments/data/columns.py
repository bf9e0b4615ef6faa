"""Columns of any type that a file can have, as the few types that a task reads."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


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
    """A column of images as structs of the bytes of a file and its path; None where it holds something else.

    An image without bytes is null.
    """
    if pa.types.is_struct(column.type) and {"bytes", "path"} <= {field.name for field in column.type}:
        content, paths = _as_bytes(pc.struct_field(column, "bytes")), as_text(pc.struct_field(column, "path"))
    else:
        content, paths = _as_bytes(column), pa.chunked_array([pa.nulls(len(column), pa.string())])
    if content is None or paths is None:
        return None
    arrays: list[pa.Array] = []
    for chunk in content.chunks:  # not all in one array, whose bytes could not exceed 2 GiB
        first = sum(map(len, arrays))
        own = paths.slice(first, len(chunk)).combine_chunks()
        arrays.append(pa.StructArray.from_arrays([chunk, own], fields=list(_IMAGE), mask=pc.is_null(chunk)))
    return pa.chunked_array(arrays, _IMAGE)


def _as_bytes(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_null)
    return column.cast(pa.binary()) if any(is_kind(column.type) for is_kind in kinds) else None
