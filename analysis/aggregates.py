"""Aggregates across tasks and seeds: interquartile mean, performance profiles and the probability of improvement.

Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice" (arXiv 2108.13264),
section 4. Scores of all tasks are taken as they are, as fractions: their primary metrics have one
scale, and an aggregate of other tasks is another quantity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
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
    first, second = ours[..., :, None], theirs[..., None, :]
    return ((first > second) + 0.5 * (first == second)).mean((-3, -2, -1))


def aggregate(statistic: Callable[..., Array], *scores: Array) -> Estimate:
    """A statistic of one or two methods with its percentile interval by the stratified bootstrap.

    Within each task, and each method alone, seeds are drawn with replacement; tasks are taken as given. `DRAWS` draws
    from a generator seeded by `SEED`. No interval for one seed per task.
    """
    value = float(statistic(*scores))
    if any(part.shape[1] < 2 for part in scores):
        return Estimate(value, None, None)
    generator = np.random.default_rng(SEED)
    draws = statistic(*(_resampled(part, generator) for part in scores))
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def performance_profile(scores: Array) -> Profile:
    """Share of the runs of all tasks with a score above each of `THRESHOLDS`; scores (tasks, seeds)."""
    share = _shares(scores[None])[0]
    if scores.shape[1] < 2:
        return Profile(share, None, None)
    draws = _shares(_resampled(scores, np.random.default_rng(SEED)))
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Profile(share, low, high)


def _shares(scores: Array) -> Array:
    flat = scores.reshape(len(scores), -1)
    return np.stack([(flat > threshold).mean(1) for threshold in THRESHOLDS], axis=1)


def _resampled(scores: Array, generator: np.random.Generator) -> Array:
    """Draws (draws, tasks, seeds) of scores (tasks, seeds), seeds drawn within each task."""
    tasks, seeds = scores.shape
    drawn = generator.integers(seeds, size=(DRAWS, tasks, seeds))
    return np.take_along_axis(scores[None], drawn, axis=2)
