"""Labels as files hold them: numbers, names, truth values, and what is none."""

from __future__ import annotations

import datetime
from dataclasses import replace
from decimal import Decimal
from math import nan
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from experiments.data import labels
from experiments.data.data_set import DataSet
from schema.sections import HubRows

NAMES = ["entailment", "not_entailment"]
TASK = DataSet("t", "t", {"train": "train"}, ["sentence"], "label", NAMES, HubRows())
SIMILARITY = replace(TASK, classes=None, label_range=[0, 5])


def read(values: Any, kind: pa.DataType | None = None, data_set: DataSet = TASK) -> np.ndarray | None:
    column = pa.chunked_array([values if isinstance(values, pa.Array) else pa.array(values, kind)])
    assert data_set.classes != "folder"
    return labels.read(data_set, data_set.classes, column)


@pytest.mark.parametrize(
    "values",
    [
        [0, 1],
        [0.0, 1.0],
        pa.array([0, 1], pa.uint8()),
        [Decimal(0), Decimal(1)],
        [False, True],
        ["0", "1"],
        ["0.0", " 1 "],
        ["false", "True"],
        ["entailment", "not_entailment"],
        ["Entailment ", "NOT_ENTAILMENT"],
        pa.array(NAMES, pa.large_string()),
        pa.array(NAMES).dictionary_encode(),
        [b"entailment", b"not_entailment"],
    ],
)
def test_the_classes_of_two(values: Any) -> None:
    assert read(values).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, -1, 2, 1], [0, nan, nan, 1]),
        ([0.5, 1.0], [nan, 1]),
        ([nan, None], [nan, nan]),
        (pa.array([2**63, 1], pa.uint64()), [nan, 1]),
        ([True, None], [1, nan]),
        (["entailment", "0", "entailment"], [0, nan, 0]),
        (["entailed", "1"], [nan, 1]),
        ([None, None], [nan, nan]),
        (["inf", "1e400", "1"], [nan, nan, 1]),
    ],
)
def test_rows_without_a_class_are_nan(values: Any, expected: list[float]) -> None:
    np.testing.assert_array_equal(read(values), expected)


@pytest.mark.parametrize("values", [[[0]], [{"x": 0}], [datetime.date(2020, 1, 1)], [b"\xff"]])
def test_a_type_that_holds_no_labels(values: list[Any]) -> None:
    assert read(values) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 2.5, 5.0], [0, 2.5, 5]),
        (["3.8", "0"], [3.8, 0]),
        ([-1.0, 5.1, 1e300, float("inf"), None], [nan] * 5),
        ([True, False], [nan, nan]),
        (["entailment", "1"], [nan, 1]),
    ],
)
def test_the_numbers_of_a_regression_lie_in_its_range(values: list[Any], expected: list[float]) -> None:
    np.testing.assert_array_equal(read(values, data_set=SIMILARITY), expected)


def test_numbers_without_a_range_are_those_of_float32() -> None:
    np.testing.assert_array_equal(
        read([1e30, 1e300, -5.0], data_set=replace(SIMILARITY, label_range=None)), [1e30, nan, -5]
    )


def test_names_that_differ_in_capitals_alone_are_no_names() -> None:
    assert read(["0", "1"], data_set=replace(TASK, classes=["a", "A"])).tolist() == [0, 1]
    np.testing.assert_array_equal(read(["a", "A"], data_set=replace(TASK, classes=["a", "A"])), [nan, nan])


@pytest.mark.parametrize(
    ("values", "said"), [([True, False], True), (["True"], True), (["0", "1"], False), ([0, 1], False), (NAMES, False)]
)
def test_what_truth_values_are_taken_for_is_said(values: list[Any], said: bool) -> None:
    note = labels.note(TASK, NAMES, pa.table({"label": values}))
    assert note == ("label false is read as entailment, true as not_entailment" if said else None)


@pytest.mark.parametrize("metadata", ["{", "[1]", "null", '{"info": {"features": {"label": 5}}}', b"\xff"])
def test_damaged_metadata_is_said(metadata: str | bytes) -> None:
    schema = pa.schema([("label", pa.int64())], metadata={"huggingface": metadata})
    with pytest.raises(ValueError, match="metadata `huggingface` is damaged"):
        labels.declared(schema, "label")
