"""Types of settings: bounds beyond which a library would fail later, one meaning of ~, names that are safe in paths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from schema import values
from schema.validation import shown


def taken(kind: object, value: object) -> Any:
    return TypeAdapter(Annotated[kind, ...]).validate_python(value, strict=True)


def refused(kind: object, value: object) -> bool:
    try:
        taken(kind, value)
    except ValidationError:
        return True
    return False


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (values.Count, [0, -1, 2**31, 10**30, True, 1.0, "1", None]),
        (values.Batch, [0, 2**20 + 1, 10**30]),
        (values.Several, [1, 10**30]),
        (values.Odd, [1, 4, 10**30 + 1]),
        (values.SeedValue, [-1, 2**32, True]),
        (values.Positive, [0, -0.0, 1e31, float("inf"), float("nan"), True, "1"]),
        (values.NotNegative, [-1e-9, 1e31, float("inf"), float("nan")]),
        (values.Epochs, [0, 1e7, float("inf")]),
        (values.Seconds, [0, 1e5, float("inf")]),
        (values.Fraction, [-0.1, 1.1, float("nan"), True]),
        (values.BelowOne, [-0.1, 1, float("nan")]),
        (values.Text, ["", "a\x00b", "\ud800", 1]),
        (values.Name, ["", "a/b", "..", ".a", "-a", "a b", "a\n", "a" * 101, 1]),
        (values.TaskName, ["", "/a", "a/", "a//b", "a/../b", "../a", "a b"]),
        (values.Named, [{"../x": "test"}, {"": "test"}, {"x": ""}]),
        (values.Folder, ["", "~nosuchuser", "~nosuchuser/x", "a\x00b"]),
    ],
)
def test_what_is_outside_is_refused(kind: object, wrong: list[object]) -> None:
    assert [value for value in wrong if not refused(kind, value)] == []


@pytest.mark.parametrize(
    ("kind", "right"),
    [
        (values.Count, [1, 2**31 - 1]),
        (values.Positive, [1, 1e-300, 1e30]),
        (values.Name, ["gpart", "qwen2.5-0.5b", "stories260K-llama", "größer_2", "a+b@c"]),
        (values.TaskName, ["glue/sst2", "of-a-test", "a/b/c"]),
        (values.Named, [{}, {"mismatched": "validation_mismatched"}]),
        (values.Folder, ["x", "../x", "/x/a=b (1)", "x/~y", "$HOME"]),
    ],
)
def test_what_is_inside_is_kept_as_it_is(kind: object, right: list[object]) -> None:
    assert [taken(kind, value) for value in right] == right


@pytest.mark.parametrize("kind", [values.NotNegative, values.Fraction, values.BelowOne])
def test_a_negative_zero_is_a_zero(kind: object) -> None:
    assert str(taken(kind, -0.0)) == "0.0"
    assert str(taken(values.Options, {"a": {"b": -0.0}})) == "{'a': {'b': 0.0}}"


def test_a_tilde_is_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert taken(values.Folder, "~/x") == f"{tmp_path}/x"
    assert taken(values.Folder, "~") == str(tmp_path)


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ("a", "a"),
        ("", '""'),
        ("1", '"1"'),
        ("true", '"true"'),
        (["a", 1, None], "[a, 1, null]"),
        ({"a": [True]}, "{a: [true]}"),
    ],
)
def test_a_value_is_shown_as_it_is_typed(value: object, typed: str) -> None:
    assert shown(value) == typed
