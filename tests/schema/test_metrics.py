from __future__ import annotations

import pytest

from experiments.families.math import section
from experiments.families.metrics import SCORES
from schema.metrics import RANGES, out_of_range


def test_every_score_that_is_computed_has_a_range() -> None:
    assert {*SCORES, *section.SCORES} == RANGES.keys()


@pytest.mark.parametrize(
    ("name", "score"),
    [("accuracy", 0), ("accuracy", 1), ("pearson", 1 + 1e-12), ("matthews_correlation", -1), ("loss", 1e9)],
)
def test_what_a_score_can_be(name: str, score: float) -> None:
    assert out_of_range(name, score) is None
    assert out_of_range(name, None) is None


def test_what_a_score_cannot_be() -> None:
    assert out_of_range("accuracy", 7) == out_of_range("f1", -0.1) == "a number from 0 to 1"
    assert out_of_range("pearson", -1.5) == "a number from -1 to 1"
    assert out_of_range("loss", -0.1) == "a number of at least 0"
    assert out_of_range("another", 7) is None
