from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field

from schema.marks import NEUTRAL, REFERENCE, RESULT, SEED, WHERE, Section, hashed, neutral_at
from schema.values import Count, Text


class Inner(Section):
    size: Annotated[Count, RESULT]
    seed: Annotated[Count, SEED]
    path: Annotated[Text, WHERE]


class Outer(Section):
    rate: Annotated[float, RESULT]
    smoothing: Annotated[float, neutral_at(0.0)] = 0.0
    revision: Annotated[Text, REFERENCE]
    note: Annotated[Text, NEUTRAL]
    inner: Inner
    parts: dict[str, Inner] = Field(default_factory=dict)


VALUES = {
    "rate": 0.1,
    "smoothing": 0.0,
    "revision": "main",
    "note": "a note",
    "inner": {"size": 3, "seed": 1, "path": "folder"},
    "parts": {"first": {"size": 4, "seed": 2, "path": "folder"}},
}


def test_a_field_without_a_mark_does_not_import() -> None:
    with pytest.raises(TypeError, match=r"Careless\.rate has 0 marks"):

        class Careless(Section):
            rate: float


def test_a_field_with_two_marks_does_not_import() -> None:
    with pytest.raises(TypeError, match=r"Undecided\.rate has 2 marks"):

        class Undecided(Section):
            rate: Annotated[float, RESULT, NEUTRAL]


def test_what_changes_a_result_is_hashed_and_nothing_else() -> None:
    assert hashed(Outer, VALUES) == {
        "rate": 0.1,
        "inner": {"size": 3, "seed": 1},
        "parts": {"first": {"size": 4, "seed": 2}},
    }


def test_a_neutral_value_is_hashed_where_it_is_another() -> None:
    assert hashed(Outer, {**VALUES, "smoothing": 0.1})["smoothing"] == 0.1


def test_a_key_that_no_section_knows_counts() -> None:
    assert hashed(Outer, {**VALUES, "added": 1})["added"] == 1
