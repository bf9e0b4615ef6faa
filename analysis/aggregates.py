"""Aggregates across tasks and seeds: interquartile mean, performance profiles and the probability of improvement.

Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice" (arXiv 2108.13264),
section 4. Scores of all tasks are taken as they are, as fractions: their primary metrics have one
scale, and an aggregate of other tasks is another quantity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import trim_mean

from analysis.cells import Row, Section
from analysis.metrics import Array
from analysis.records import Run
from analysis.statistics import DRAWS, LEVEL, SEED
from schema.key import Key

THRESHOLDS = np.linspace(0, 1, 101)
"""Scores at which performance profiles are evaluated."""


class Estimate(NamedTuple):
    """A value with its 95 % interval; the ends are None where one run per task gives none."""

    value: float
    low: float | None
    high: float | None


class Profile(NamedTuple):
    """Share of runs above each of `THRESHOLDS`, with pointwise 95 % intervals: arrays (thresholds,) or None."""

    share: Array
    low: Array | None
    high: Array | None


@dataclass(frozen=True)
class Pool:
    """The columns of a section that may be aggregated, with what each row has there.

    Attributes:
        columns: one per task.
        reason: why they may not be aggregated at all; None where they may.
        runs: for every row without a reason, its scored runs per column.
        reasons: for every other row, what it lacks.
    """

    columns: tuple[Key, ...]
    reason: str | None
    runs: dict[Row, list[list[Run]]]
    reasons: dict[Row, str]

    def scores(self, row: Row) -> Array:
        """The scores (tasks, seeds) of a row without a reason, as fractions."""
        return np.array([[run.score for run in cell] for cell in self.runs[row]], dtype=np.float64)


def pools(section: Section) -> list[Pool]:
    """The section's columns in groups that may be aggregated: at least two tasks, generated never with real ones."""
    groups = [
        tuple(column for column in section.columns if (column.source == "embedded") is generated)
        for generated in (False, True)
    ]
    return [_pool(section, columns) for columns in groups if len(columns) > 1]


def _pool(section: Section, columns: tuple[Key, ...]) -> Pool:
    twice = [task for task, count in Counter(column.task for column in columns).items() if count > 1]
    if twice:
        return Pool(columns, f"{', '.join(twice)}: more than one column, which are no two tasks", {}, {})
    runs: dict[Row, list[list[Run]]] = {}
    reasons: dict[Row, str] = {}
    for row in section.rows:
        cells = [[run for run in section.cells.get((row, column), ()) if run.state == "ok"] for column in columns]
        counts = {len(cell) for cell in cells}
        if 0 in counts:
            reasons[row] = "missing: " + ", ".join(c.task for c, cell in zip(columns, cells, strict=True) if not cell)
        elif len(counts) > 1:
            reasons[row] = f"{min(counts)} to {max(counts)} scored runs per task; the same number is needed"
        else:
            runs[row] = cells
    return Pool(columns, None, runs, reasons)


def interquartile_mean(scores: Array) -> Array:
    """Mean of the middle half of the runs of all tasks: (..., tasks, seeds) to (...,).

    A quarter of the runs, rounded down, is cut at either end.
    """
    return trim_mean(scores.reshape(*scores.shape[:-2], -1), 0.25, axis=-1)


def mean(scores: Array) -> Array:
    """Mean over tasks and seeds: (..., tasks, seeds) to (...,)."""
    return scores.mean((-2, -1))


def improvement(ours: Array, theirs: Array) -> Array:
    """Probability that a run is better than one of the other method on a task drawn at random, ties counting half.

    Args:
        ours: (..., tasks, seeds) scores of a method.
        theirs: (..., tasks, seeds) scores of the other, of any number of seeds.

    Returns:
        (...,) the mean over tasks of the Mann-Whitney statistic as a share of pairs.
    """
    return _wins(ours, theirs).mean((-3, -2, -1))


def _wins(ours: Array, theirs: Array) -> Array:
    """1, 0.5 or 0 of every pair of runs of a task: (..., tasks, seeds) twice to (..., tasks, seeds, other seeds)."""
    first, second = ours[..., :, None], theirs[..., None, :]
    return (first > second) + 0.5 * (first == second)


def aggregate(statistic: Callable[[Array], Array], scores: Array) -> Estimate:
    """A statistic of (tasks, seeds) scores with its percentile interval by the stratified bootstrap.

    Within each task seeds are drawn with replacement; tasks are taken as given. `DRAWS` draws from a generator seeded
    by `SEED`. No interval for one seed per task.
    """
    value = float(statistic(scores))
    if scores.shape[1] < 2:
        return Estimate(value, None, None)
    (drawn,) = _drawn(DRAWS, scores.shape)
    return Estimate(value, *_interval(statistic(np.take_along_axis(scores[None], drawn, axis=2))))


def aggregate_improvement(ours: Array, theirs: Array) -> Estimate:
    """`improvement` with the interval of `aggregate`, each method drawn alone.

    How often each run is drawn, and which pairs of runs the method wins, give every draw without its pairs.
    """
    value = float(improvement(ours, theirs))
    if min(ours.shape[1], theirs.shape[1]) < 2:
        return Estimate(value, None, None)
    first, second = (_counts(drawn) for drawn in _drawn(DRAWS, ours.shape, theirs.shape))
    wins = _wins(ours, theirs)
    draws = (first @ wins * second).sum((0, 2)) / wins.size
    return Estimate(value, *_interval(draws))


def performance_profile(scores: Array) -> Profile:
    """Share of the runs of all tasks with a score above each of `THRESHOLDS`; scores (tasks, seeds)."""
    above = (scores[..., None] > THRESHOLDS).astype(np.float64)
    share = above.mean((0, 1))
    if scores.shape[1] < 2:
        return Profile(share, None, None)
    (drawn,) = _drawn(DRAWS, scores.shape)
    draws = (_counts(drawn) @ above).sum(0) / scores.size
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Profile(share, low, high)


def _interval(draws: Array) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@lru_cache(maxsize=2)
def _drawn(draws: int, *shapes: tuple[int, ...]) -> tuple[NDArray[np.int64], ...]:
    """Which seeds are drawn within each task, (draws, tasks, seeds) for each shape; kept, since rows share theirs."""
    generator = np.random.default_rng(SEED)
    return tuple(generator.integers(seeds, size=(draws, tasks, seeds)) for tasks, seeds in shapes)


def _counts(drawn: NDArray[np.int64]) -> Array:
    """How often each seed is drawn: (draws, tasks, seeds) places to (tasks, draws, seeds) counts."""
    draws, tasks, seeds = drawn.shape
    cells = drawn + seeds * np.arange(draws * tasks).reshape(draws, tasks, 1)
    return np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape).swapaxes(0, 1).astype(np.float64)
