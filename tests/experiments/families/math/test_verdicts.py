"""Our verdicts and Math-Verify's on one set of generations: where they differ, the file says who is right and why."""

from __future__ import annotations

import pytest

from experiments.families.math.prompts import load
from experiments.families.math.scoring import score
from tests.experiments.families.math import verdicts

ROWS = verdicts.load()


@pytest.mark.parametrize("kind", ["number", "math"])
def test_our_verdicts_are_those_of_the_file(kind):
    rows = [row for row in ROWS if row["kind"] == kind]
    assert len(rows) > 150
    scores = score([row["text"] for row in rows], [row["gold"] for row in rows], kind, load("plain"))
    wrong = [row for row, right in zip(rows, scores.lenient, strict=True) if right is not row["ours"]]
    assert wrong == []


def test_each_disagreement_is_explained_and_nothing_else():
    assert len({(row["text"], row["gold"]) for row in ROWS}) > 400
    assert {(row["ours"], row["math_verify"]) for row in ROWS} == {(a, b) for a in (True, False) for b in (True, False)}
    for row in ROWS:
        differ = row["ours"] is not row["math_verify"]
        assert ("why" in row) is differ, row
        assert not differ or row["why"].startswith(("ours: ", "theirs: ", "both: ")), row


@pytest.mark.slow
def test_the_file_says_what_math_verify_says():
    pytest.importorskip("math_verify", reason="Math-Verify is of the extra `test`")
    assert [row for row in ROWS if verdicts.math_verify(row) is not row["math_verify"]] == []
