"""A table of any source as the rows of a task: inputs, label and example id, each checked."""

from __future__ import annotations

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.data.data_set import ID, Classes, DataSet
from experiments.errors import SpecError, shorten


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
    ids = table[ID] if ID in table.column_names else pa.chunked_array([np.arange(len(table))])
    errors = _class_name_errors(data_set, classes, table)
    for name in data_set.inputs:
        errors += _row_errors(f"null in column {name}", pc.is_null(table[name]).to_numpy(), ids, "a value in every row")
    if pc.count_distinct(ids).as_py() < len(ids) or ids.null_count:
        errors.append(f"column {ID} is not one id for each row; accepted: different ids, or no such column")
    label_errors, labels = _labels(data_set, classes, table, ids)
    errors += label_errors
    if errors:
        raise SpecError([f"{where}: {error}" for error in errors])
    schema = _features(data_set, classes, ids.type).arrow_schema
    columns = [*(table[name] for name in data_set.inputs), labels, ids]
    arrays = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
    rows = pa.Table.from_arrays(arrays, schema=schema)
    return datasets.Dataset(datasets.table.InMemoryTable(rows), split=datasets.NamedSplit(split))


def names(classes: list[str] | int) -> list[str]:
    """The names of a task's classes; their numbers where the task says only how many there are."""
    return [str(number) for number in range(classes)] if isinstance(classes, int) else classes


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
    return datasets.ClassLabel(names=names(classes)) if classes else datasets.Value("float32")


def _class_name_errors(data_set: DataSet, classes: Classes, table: pa.Table) -> list[str]:
    """Label ids mean something else where the data set itself names its classes in another order."""
    feature = datasets.Features.from_arrow_schema(table.schema)[data_set.label]
    if not isinstance(feature, datasets.ClassLabel) or classes in (None, feature.names, len(feature.names)):
        return []
    if isinstance(classes, list):
        return [f"its classes are {', '.join(feature.names)}; accepted: {', '.join(classes)}, in this order"]
    return [f"it has {len(feature.names)} classes; accepted: {classes}, as {data_set.task} has"]


def _labels(
    data_set: DataSet, classes: Classes, table: pa.Table, ids: pa.ChunkedArray
) -> tuple[list[str], pa.ChunkedArray]:
    """What is wrong with the labels, and the labels as class ids (int64) or values (float32)."""
    column = table[data_set.label]
    if data_set.label_type == "text":
        missing = pc.is_null(column).to_numpy()
        return _row_errors(f"null in column {data_set.label}", missing, ids, "a text in every row"), column
    known = names(classes) if classes else None
    accepted = f"integers 0 to {len(known) - 1} ({shorten(', '.join(known))})" if known else "finite numbers"
    try:
        values = column.cast(pa.float64(), safe=False).to_numpy()
    except pa.ArrowException:
        return [f"column {data_set.label} holds {column.type}; accepted: {accepted}"], column
    wrong = ~np.isin(values, np.arange(len(known))) if known else ~np.isfinite(values)
    errors = _row_errors(f"labels outside what {data_set.task} has", wrong, ids, accepted)
    typed = np.where(wrong, 0, values).astype(np.int64 if known else np.float32)
    return errors, pa.chunked_array([typed])


def _row_errors(what: str, wrong: np.ndarray, ids: pa.ChunkedArray, accepted: str) -> list[str]:
    if not wrong.any():
        return []
    first = ids[int(wrong.argmax())].as_py()
    return [f"{int(wrong.sum())} rows with {what}, the first at example id {first}; accepted: {accepted}"]
