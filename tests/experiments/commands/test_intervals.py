from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score

from experiments.commands.agreement import Kept, bits, environment
from experiments.commands.intervals import intervals
from experiments.records.record import artifacts
from schema.reading import read
from tests.analysis.conftest import record, write, write_predictions

ROWS = 400
LABELS = np.arange(ROWS) % 2


def kept(folder: Path, prediction: np.ndarray | None, score: float, label: np.ndarray = LABELS, **changes: Any) -> Kept:
    """A run with its predictions on the test split, where they are given."""
    path = write(folder, record(score=score, metrics__selection={"loss": 0.5}, **changes))
    result = read(record(score=score, metrics__selection={"loss": 0.5}, **changes))
    if prediction is not None:
        write_predictions(path, prediction, label, np.arange(ROWS))
        result.artifacts = artifacts(path.parent)
    return Kept(result, path.parent)


def of_accuracy(folder: Path, right: range, kept_files: bool = True) -> Kept:
    """A run that is right about these examples."""
    prediction = np.where(np.isin(np.arange(ROWS), right), LABELS, 1 - LABELS)
    return kept(folder, prediction if kept_files else None, accuracy_score(LABELS, prediction))


@pytest.mark.parametrize(("right", "agrees"), [(range(300), True), (range(2, 302), True), (range(290), False)])
def test_predictions_of_both_are_compared_example_by_example(right: range, agrees: bool, tmp_path: Path) -> None:
    (found,) = intervals(of_accuracy(tmp_path / "a", range(300)), of_accuracy(tmp_path / "b", right))
    assert found.agrees is agrees
    assert "paired difference" in found.remark


def test_pairs_tell_what_intervals_of_one_score_do_not(tmp_path: Path) -> None:
    few_fewer = of_accuracy(tmp_path / "b", range(290))
    (paired,) = intervals(of_accuracy(tmp_path / "a", range(300)), few_fewer)
    (alone,) = intervals(of_accuracy(tmp_path / "c", range(300), kept_files=False), few_fewer)
    assert (paired.agrees, alone.agrees) == (False, True)
    assert "[+0.7053, +0.7899], 400 examples" in alone.remark  # Wilson's interval of 300 in 400


def test_predictions_that_are_not_those_recorded_are_not_used(tmp_path: Path) -> None:
    then, now = of_accuracy(tmp_path / "a", range(300)), of_accuracy(tmp_path / "b", range(290))
    with (then.folder / "predictions.parquet").open("ab") as file:
        file.write(b" ")
    (found,) = intervals(then, now)
    assert "of the recorded score" in found.remark


@pytest.mark.parametrize(("recorded", "agrees"), [(0.9, True), (0.2, False)])
def test_a_correlation_without_recorded_predictions_has_the_interval_of_now(
    recorded: float, agrees: bool, tmp_path: Path
) -> None:
    label = np.linspace(0.0, 5.0, ROWS)
    prediction = label + np.random.default_rng(0).normal(scale=0.7, size=ROWS)
    now = kept(tmp_path / "b", prediction, float(pearsonr(prediction, label).statistic), label, metric="pearson")
    (found,) = intervals(kept(tmp_path / "a", None, recorded, metric="pearson"), now)
    assert found.agrees is agrees
    assert "of the score of now" in found.remark


def test_nothing_is_said_where_there_is_nothing_to_take_an_interval_from(tmp_path: Path) -> None:
    (found,) = intervals(kept(tmp_path / "a", None, 0.75), kept(tmp_path / "b", None, 0.75))
    assert found.agrees is None


def test_bits_are_compared_as_far_as_files_were_kept(tmp_path: Path) -> None:
    then = of_accuracy(tmp_path / "a", range(300))
    same, other = of_accuracy(tmp_path / "b", range(300)), of_accuracy(tmp_path / "c", range(290))
    assert {found.part: found.agrees for found in bits(then, same)} == {
        "rows": True,
        "scores": True,
        "history": True,
        "predictions": True,
        "checkpoint": None,
    }
    assert [found.agrees for found in bits(then, other)] == [True, False, True, False, None]
    (then.folder / "predictions.parquet").unlink()
    assert [found.agrees for found in bits(then, same)][3] is True  # by the digest of the whole file
    assert [found.agrees for found in bits(then, other)][3] is None


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({}, []),
        ({"provenance__git_sha": "1" * 40}, []),
        ({"provenance__threads": 7}, ["threads 2, now 7"]),
        ({"config__threads": 2, "provenance__threads": 7}, []),
        ({"provenance__packages": {"torch": "9"}}, ["torch 2.13.0, now 9"]),
        ({"provenance__packages": {}}, ["versions not recorded"]),
    ],
)
def test_bits_are_expected_of_the_same_processor_threads_and_versions(
    changes: dict[str, Any], differing: list[str]
) -> None:
    assert environment(read(record()), read(record(**changes))) == differing
