"""A table of any source as the rows of a task: inputs, label and example id, each checked."""

from __future__ import annotations

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.data import columns, labels
from experiments.data.data_set import ID, Classes, DataSet
from experiments.errors import SpecError, shorten
from schema.validation import shown


def checked(data_set: DataSet, classes: Classes, table: pa.Table, where: str, split: str) -> datasets.Dataset:
    """The table as a data set of the inputs (text or images), the label (ClassLabel, float32 or text) and `example_id`.

    Args:
        data_set: which columns are what.
        classes: of the labels.
        table: the inputs, the label and, where there is one, the id column.
        where: what to name in errors: the key, its value and the split.
        split: kept as the name of the data set's split.

    Raises:
        SpecError: one line for every kind of value that the task does not allow, with count and first example.
    """
    ids, errors = _ids(table)
    known = pa.chunked_array([np.arange(len(table))]) if errors else ids
    found = []
    for name in data_set.inputs:
        column, wrong = _input(data_set, table, name, known)
        found.append(column)
        errors += wrong
    label, wrong = _label(data_set, classes, table, known)
    if errors := errors + wrong:
        raise SpecError([f"{where}: {error}" for error in errors])
    schema = _features(data_set, classes, ids.type).arrow_schema
    arrays = [column.cast(field.type) for column, field in zip([*found, label, ids], schema, strict=True)]
    rows = pa.Table.from_arrays(arrays, schema=schema)
    return datasets.Dataset(datasets.table.InMemoryTable(rows), split=datasets.NamedSplit(split))


def _features(data_set: DataSet, classes: Classes, id_type: pa.DataType) -> datasets.Features:
    kind = datasets.Image() if data_set.input_type == "image" else datasets.Value("string")
    return datasets.Features(
        {
            **dict.fromkeys(data_set.inputs, kind),
            data_set.label: _label_feature(data_set, classes),
            "example_id": datasets.Value("int64" if pa.types.is_integer(id_type) else "string"),
        }
    )


def _label_feature(data_set: DataSet, classes: Classes) -> datasets.Value | datasets.ClassLabel:
    if data_set.label_type == "text":
        return datasets.Value("string")
    return datasets.ClassLabel(names=labels.names_of(classes)) if classes else datasets.Value("float32")


def _ids(table: pa.Table) -> tuple[pa.ChunkedArray, list[str]]:
    """The example ids (int64 or text; the numbers of the rows where there are none), and what is wrong with them."""
    if ID not in table.column_names:
        return pa.chunked_array([np.arange(len(table))]), []
    ids = columns.as_ids(table[ID])
    if ids is None:
        return table[ID], [f"column {ID} holds {shorten(str(table[ID].type))}; accepted: integers below 2^63, or texts"]
    if ids.null_count or pc.count_distinct(ids).as_py() < len(ids):
        return ids, [f"column {ID} is not one id for each row; accepted: different ids, or no such column"]
    return ids, []


def _input(data_set: DataSet, table: pa.Table, name: str, ids: pa.ChunkedArray) -> tuple[pa.ChunkedArray, list[str]]:
    column = columns.as_text(table[name]) if data_set.input_type == "text" else columns.as_images(table[name])
    if column is None:
        accepted = {"text": "text in UTF-8", "image": "the bytes of an image file, alone or as `bytes` of a struct"}
        return table[name], [
            f"column {name} holds {shorten(str(table[name].type))}; accepted: {accepted[data_set.input_type]}"
        ]
    return column, _row_errors(f"null in column {name}", pc.is_null(column).to_numpy(), ids, "a value in every row")


def _label(
    data_set: DataSet, classes: Classes, table: pa.Table, ids: pa.ChunkedArray
) -> tuple[pa.ChunkedArray, list[str]]:
    """The labels as class ids (int64), values (float32) or texts, and what is wrong with them."""
    column = table[data_set.label]
    where = f"column {data_set.label} holds {shorten(str(column.type))}"
    if data_set.label_type == "text":
        texts = columns.as_text(column)
        if texts is None:
            return column, [f"{where}; accepted: text in UTF-8"]
        missing = pc.is_null(texts).to_numpy()
        return texts, _row_errors(f"null in column {data_set.label}", missing, ids, "a text in every row")
    if fault := labels.order_fault(classes, labels.declared(table.schema, data_set.label)):
        return column, [fault]
    values, accepted = labels.read(data_set, classes, column), labels.accepted(data_set, classes)
    if values is None:
        return column, [f"{where}; accepted: {accepted}"]
    wrong = np.isnan(values)
    errors = _row_errors(f"labels outside what {data_set.task} has", wrong, ids, accepted, column)
    return pa.chunked_array([np.where(wrong, 0, values).astype(np.int64 if classes else np.float32)]), errors


def _row_errors(
    what: str, wrong: np.ndarray, ids: pa.ChunkedArray, accepted: str, column: pa.ChunkedArray | None = None
) -> list[str]:
    """One line where rows are wrong, with the first one's id and, of a column, its value."""
    if not wrong.any():
        return []
    place = int(wrong.argmax())
    value = "" if column is None else f" ({shorten(shown(column[place].as_py()), 40)})"
    first = f"the first at example id {shorten(str(ids[place].as_py()), 40)}{value}"
    return [f"{int(wrong.sum())} rows with {what}, {first}; accepted: {accepted}"]
