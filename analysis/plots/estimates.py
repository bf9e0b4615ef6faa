"""The score of a cell with its interval: over seeds, or for one seed over test examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.differences import ComparisonError, read_predictions
from analysis.records import Run
from analysis.statistics import LEVEL, METRICS, SEED, score, summarize

DRAWS = 2_000
_AGREEMENT = 1e-5
"""Largest difference between a recorded score and the same score from the predictions (correlations in float32)."""
_CHUNK = 2**22


class Estimate(NamedTuple):
    """A mean of n scores x 100 with its 95 % interval, and over what that is: `seeds`, `examples` or `none`."""

    n: int
    mean: float
    low: float | None
    high: float | None
    interval: str


def estimate(runs: Sequence[Run]) -> Estimate:
    """The estimate of runs that all have a score: Student's t over seeds; for one run, the bootstrap over examples."""
    scores = [100 * run.score for run in runs if run.score is not None]
    found = summarize(scores)
    if found.low is not None:
        return Estimate(found.n, found.mean, found.low, found.high, "seeds")
    interval = examples_interval(runs[0])
    if interval is None:
        return Estimate(1, found.mean, None, None, "none")
    return Estimate(1, found.mean, 100 * interval[0], 100 * interval[1], "examples")


def examples_interval(run: Run) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of one run's score over its test examples (Efron and Tibshirani 1993, ch. 13).

    None where there are no predictions, where they do not give the recorded score, or where a draw has no value.
    """
    metric = run.column.metric
    try:
        found = read_predictions(run.path.with_name("predictions.parquet"), run.column.split)
    except ComparisonError:
        return None
    if metric not in METRICS or run.score is None:
        return None
    if not abs(float(score(metric, found.prediction, found.label)[0]) - run.score) <= _AGREEMENT:
        return None
    generator, n = np.random.default_rng(SEED), len(found.label)
    size = max(1, min(DRAWS, _CHUNK // n))
    draws = []
    for start in range(0, DRAWS, size):
        counts = generator.multinomial(n, np.full(n, 1 / n), size=min(size, DRAWS - start)).astype(np.float64)
        draws.append(score(metric, found.prediction, found.label, counts))
    low, high = np.quantile(np.concatenate(draws), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return (float(low), float(high)) if np.isfinite([low, high]).all() else None


def interval_note(intervals: Sequence[str]) -> str:
    """The sentence of a caption on the intervals that are drawn."""
    notes = {
        "seeds": "95 % Student t interval of the mean over seeds",
        "examples": f"for one seed 95 % bootstrap interval over test examples ({DRAWS:,} draws), "
        "which holds nothing of what further seeds would do",
        "none": "rows of one seed without predictions have none",
    }
    return f"Intervals: {'; '.join(text for name, text in notes.items() if name in intervals)}."
