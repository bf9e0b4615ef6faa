"""Labels as a task has them: class ids from numbers, names or truth values, and the numbers of a regression."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.data.columns import as_text, plain
from experiments.data.data_set import Classes, DataSet
from experiments.errors import shorten

_TRUTH = ("false", "true")


def names_of(classes: list[str] | int) -> list[str]:
    """The names of a task's classes; their numbers where the task says only how many there are."""
    return [str(number) for number in range(classes)] if isinstance(classes, int) else classes


def accepted(data_set: DataSet, classes: Classes) -> str:
    """What a label may be, in words."""
    if classes:
        names = names_of(classes)
        named = f", or their names ({shorten(', '.join(names))})" if isinstance(classes, list) else ""
        return f"integers 0 to {len(names) - 1}{named}"
    if data_set.label_range:
        return "numbers from {:g} to {:g}".format(*data_set.label_range)
    return "finite numbers, of float32"


def read(data_set: DataSet, classes: Classes, column: pa.ChunkedArray) -> np.ndarray | None:
    """The labels (n,) as float64: class ids, or values; NaN where a row has none that the task has.

    Names of classes count whatever their capitals. Truth values are classes 0 (false) and 1 of two.

    Returns:
        None where the column's type holds no labels.
    """
    column = plain(column)
    if pa.types.is_boolean(column.type):
        column = pc.if_else(column, *reversed(_TRUTH))
    words = as_text(column)
    values = _numbers(column) if words is None else _read_words(words, classes)
    if values is None:
        return None
    if classes:
        return np.where(np.isin(values, np.arange(len(names_of(classes)))), values, np.nan)
    with np.errstate(over="ignore"):
        wrong = ~np.isfinite(values.astype(np.float32))
    least, largest = data_set.label_range or (-np.inf, np.inf)
    return np.where(wrong | (values < least) | (values > largest), np.nan, values)


def note(data_set: DataSet, classes: Classes, table: pa.Table) -> str | None:
    """Which classes truth values are taken for; None where the labels are none."""
    column, names = plain(table[data_set.label]), names_of(classes) if classes else []
    words = _TRUTH if pa.types.is_boolean(column.type) else _distinct(as_text(column))
    own = {name.lower() for name in names}
    if len(names) != len(_TRUTH) or not words or not set(words) <= {*_TRUTH} - own:
        return None
    return f"{data_set.label} false is read as {names[0]}, true as {names[1]}"


def _distinct(words: pa.ChunkedArray | None) -> Sequence[str | None]:
    return [] if words is None else pc.unique(pc.utf8_lower(pc.utf8_trim_whitespace(words))).to_pylist()


def declared(schema: pa.Schema, column: str) -> list[str] | None:
    """The names of a column's classes in the order of their ids, where a file of the `datasets` library says them.

    Raises:
        ValueError: if what it says cannot be read.
    """
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features") or {}
        names = features.get(column, {}).get("names")
        return None if names is None else [str(name) for name in names]
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"its metadata `huggingface` is damaged ({error})") from error


def order_fault(classes: Classes, names: Sequence[str] | None) -> str | None:
    """Label ids mean something else where the data set itself names its classes in another order."""
    if names is None or classes is None or classes in (list(names), len(names)):
        return None
    if isinstance(classes, list):
        return f"its classes are {', '.join(names)}; accepted: {', '.join(classes)}, in this order"
    return f"it has {len(names)} classes; accepted: {classes}, as the task has"


def _numbers(column: pa.ChunkedArray) -> np.ndarray | None:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        return None
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)


def _read_words(words: pa.ChunkedArray, classes: Classes) -> np.ndarray:
    """Names of classes, truth values or numbers: one of them in all rows."""
    words = pc.utf8_lower(pc.utf8_trim_whitespace(words))
    names = [name.lower() for name in names_of(classes)] if classes else []
    readings = [
        _placed(words, names if len(set(names)) == len(names) else []),
        _placed(words, _TRUTH if len(names) == len(_TRUTH) else []),
        _parsed(words),
    ]
    return max(readings, key=lambda values: np.isfinite(values).sum())


def _placed(words: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
    places = pc.index_in(words, pa.array(names, pa.string()), skip_nulls=True)
    return np.asarray(places.cast(pa.float64()).to_numpy(), np.float64)


def _parsed(words: pa.ChunkedArray) -> np.ndarray:
    try:
        return np.asarray(words.cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowException:
        return np.array([_number(word) for word in words.to_pylist()], np.float64)


def _number(word: str | None) -> float:
    try:
        return float(word or "nan")
    except ValueError:
        return float("nan")
