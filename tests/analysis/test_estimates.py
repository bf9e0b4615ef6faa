from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.estimates import estimate, examples_interval
from analysis.records import read_run
from tests.analysis.conftest import RecordWriter, record, write, write_predictions


def test_several_seeds_have_students_interval(predicted_run: RecordWriter) -> None:
    found = estimate([read_run(predicted_run("lora", seed, right=right)) for seed, right in enumerate((300, 310, 308))])
    scores = np.array([75, 77.5, 77])
    expected = stats.t.interval(0.95, 2, scores.mean(), stats.sem(scores))
    assert (found.n, found.interval) == (3, "seeds")
    assert (found.mean, found.low, found.high) == pytest.approx((scores.mean(), *expected))


def test_one_seed_has_scipys_percentile_bootstrap_over_examples(predicted_run: RecordWriter) -> None:
    found = estimate([read_run(predicted_run("lora", right=300))])
    right = np.arange(400) < 300
    expected = stats.bootstrap((right,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    assert (found.n, found.mean, found.interval) == (1, 75, "examples")
    assert (found.low, found.high) == pytest.approx((100 * expected.low, 100 * expected.high), abs=0.3)


def test_the_interval_of_a_run_is_read_and_drawn_once(
    predicted_run: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    single = read_run(predicted_run("lora", right=320))
    first = examples_interval(single)
    monkeypatch.setattr("analysis.statistics.DRAWS", 10)  # another draw would give another interval
    assert examples_interval(single) == first


def test_predictions_that_do_not_give_the_score_give_no_interval(runs: Path) -> None:
    path = write(runs, record("lora", score=0.9))
    assert examples_interval(read_run(path)) is None  # there are none
    label = np.arange(100) % 2
    write_predictions(path, label, label, np.arange(100))
    assert examples_interval(read_run(path)) is None
    assert estimate([read_run(path)]) == (1, pytest.approx(90), None, None, "none")
