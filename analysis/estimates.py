"""The score of a cell with its interval: over seeds, or for one seed over test examples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.predictions import ComparisonError, checked_predictions, read_predictions
from analysis.records import Run
from analysis.statistics import score_intervals, summarize


class Estimate(NamedTuple):
    """A mean of n scores x 100 with its 95 % interval, and over what that is: `seeds`, `examples` or `none`."""

    n: int
    mean: float
    low: float | None
    high: float | None
    interval: str


def estimate(runs: Sequence[Run]) -> Estimate:
    """The estimate of runs that all have a score: Student's t over seeds; for one run, the bootstrap over examples."""
    found = summarize([100 * run.score for run in runs if run.score is not None])
    if found.low is not None:
        return Estimate(found.n, found.mean, found.low, found.high, "seeds")
    interval = examples_interval(runs[0])
    if interval is None:
        return Estimate(1, found.mean, None, None, "none")
    return Estimate(1, found.mean, 100 * interval[0], 100 * interval[1], "examples")


def examples_interval(run: Run) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of one run's score over its test examples, as fractions.

    None where there are no predictions, where they do not give the recorded score, or where a draw has no value.
    """
    try:
        checked_predictions(run)
    except ComparisonError:
        return None
    interval = _interval(run.path.with_name("predictions.parquet"), run.column.split, run.column.metric)
    return interval if np.isfinite(interval).all() else None


@lru_cache(maxsize=4096)
def _interval(path: Path, split: str, metric: str) -> tuple[float, float]:
    """Kept, since a run stands in several figures and tables."""
    part = read_predictions(path, split)
    return score_intervals(metric, [part.prediction], part.label)[0]
