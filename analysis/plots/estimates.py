"""The score of a cell with its interval: over seeds, or for one seed over test examples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.differences import ComparisonError, read_predictions
from analysis.records import Run
from analysis.statistics import LEVEL, METRICS, SEED, score, summarize

DRAWS = 2_000
_CHUNK = 2**22
"""Counts of draws held at once: 32 MiB."""
_AGREEMENT = 1e-5
"""Largest difference between a recorded score and the same score from the predictions (correlations in float32)."""


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
    """95 % percentile bootstrap interval of one run's score over its test examples.

    None where there are no predictions, where they do not give the recorded score, or where a draw has no value.
    """
    column = run.column
    if run.score is None or column.metric not in METRICS:
        return None
    try:
        found, low, high = _from_predictions(run.path.with_name("predictions.parquet"), column.split, column.metric)
    except ComparisonError:
        return None
    return (low, high) if abs(found - run.score) <= _AGREEMENT and np.isfinite([low, high]).all() else None


@lru_cache(maxsize=256)
def _from_predictions(path: Path, split: str, metric: str) -> tuple[float, float, float]:
    """The score and its interval, by `DRAWS` draws of n of n examples from a generator seeded by `SEED`."""
    part = read_predictions(path, split)
    n, generator = len(part.label), np.random.default_rng(SEED)
    size = max(1, min(DRAWS, _CHUNK // n))
    draws = []
    for start in range(0, DRAWS, size):
        counts = generator.multinomial(n, np.full(n, 1 / n), size=min(size, DRAWS - start)).astype(np.float64)
        draws.append(score(metric, part.prediction, part.label, counts))
    low, high = np.quantile(np.concatenate(draws), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(score(metric, part.prediction, part.label)[0]), float(low), float(high)


def interval_note(intervals: Sequence[str]) -> str:
    """The sentence of a caption on the intervals that are drawn."""
    notes = {
        "seeds": "95 % Student t interval of the mean over seeds",
        "examples": f"for one seed 95 % bootstrap interval over test examples ({DRAWS:,} draws), "
        "which holds nothing of what further seeds would do",
        "none": "rows of one seed without predictions have none",
    }
    return f"Intervals: {'; '.join(text for name, text in notes.items() if name in intervals)}."
