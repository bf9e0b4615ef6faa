"""Statistics of scores: summaries and intervals over seeds, over test examples, and over both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import stdtrit

from analysis.metrics import COUNTED, METRICS, Array

LEVEL = 0.95
DRAWS = 10_000
SEED = 0
BOOTSTRAP_MINIMUM = 5
"""Fewest scores with a bootstrap interval: of four, a nominal 95 % interval covers about 80 % (docs/RECORD.md)."""
_CHUNK = 2**22
"""Counts held at once: 32 MiB."""
_MOST_KEPT = 2**27
"""Counts kept for further models, in bytes: those of up to 13,421 examples."""


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation (n - 1), median and t interval of n scores; None where n = 1 gives no value."""

    n: int
    mean: float
    std: float | None
    median: float
    low: float | None
    high: float | None


class Interval(NamedTuple):
    """A difference of scores with its 95 % interval; NaN where the metric has no value in some draw."""

    difference: float
    low: float
    high: float


def summarize(scores: Sequence[float]) -> Summary:
    """Summary of at least one score, with the two-sided 95 % Student t interval of the mean over seeds.

    With the three to five seeds that are usual, this interval holds what it says where scores are near normal, and
    the bootstrap does not (`bootstrap_interval`); hence it is the one that tables and differences go by.
    """
    values = np.asarray(scores, dtype=np.float64)
    n, mean, median = len(values), float(values.mean()), float(np.median(values))
    if n == 1:
        return Summary(1, mean, None, median, None, None)
    std = float(values.std(ddof=1))
    margin = _student(n - 1) * std / n**0.5
    return Summary(n, mean, std, median, mean - margin, mean + margin)


def bootstrap_interval(scores: Sequence[float]) -> tuple[float, float] | None:
    """95 % BCa bootstrap interval of the mean over seeds (Efron 1987), `DRAWS` draws from a generator seeded by `SEED`.

    None for fewer than `BOOTSTRAP_MINIMUM` scores, whose draws take too few values to hold the level, and where all
    scores are equal, so that the acceleration has no value.
    """
    values = np.asarray(scores, dtype=np.float64)
    if len(values) < BOOTSTRAP_MINIMUM or np.ptp(values) == 0:
        return None
    batch = max(1, _CHUNK // len(values))
    found = stats.bootstrap(
        (values,), np.mean, axis=-1, n_resamples=DRAWS, batch=batch, confidence_level=LEVEL, rng=SEED
    )
    low, high = map(float, found.confidence_interval)
    return (low, high) if np.isfinite([low, high]).all() else None


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % percentile bootstrap interval of the median, `DRAWS` draws from a generator seeded by `SEED`.

    Not BCa, whose acceleration is of the jackknife, which says nothing of a median. None for fewer than
    `BOOTSTRAP_MINIMUM` values.
    """
    own = np.asarray(values, dtype=np.float64)
    if len(own) < BOOTSTRAP_MINIMUM:
        return None
    drawn = np.random.default_rng(SEED).integers(len(own), size=(DRAWS, len(own)))
    return _percentiles(np.median(own[drawn], axis=1))


def seed_interval(differences: Sequence[float]) -> Interval | None:
    """Mean of paired differences, one per seed, with its t interval over seeds; None for fewer than two.

    The test examples are taken as given: the interval holds what further seeds would do on the same examples.
    """
    found = summarize(differences) if len(differences) > 1 else None
    return (
        None
        if found is None or found.low is None or found.high is None
        else Interval(found.mean, found.low, found.high)
    )


def two_level_interval(differences: Sequence[float], example_variance: float, examples: int) -> Interval | None:
    """Mean of paired differences with a 95 % interval over seeds and test examples together; None for one seed.

    The half-widths of both intervals, added in squares (Zou and Donner 2008, "MOVER"). What seeds and examples do
    jointly is in both, so that the interval is a little wide rather than narrow. Resampling both together (Owen
    2007, "The pigeonhole bootstrap") adds the same variances, but knows nothing of how few seeds there are.

    Args:
        differences: one per seed.
        example_variance: variance of their mean over bootstrap draws of the test examples.
        examples: number of test examples.
    """
    seeds = seed_interval(differences)
    if seeds is None:
        return None
    over_examples = _student(max(1, examples - 1)) * example_variance**0.5
    margin = float(np.hypot(seeds.high - seeds.difference, over_examples))
    return Interval(seeds.difference, seeds.difference - margin, seeds.difference + margin)


def _student(freedom: float) -> float:
    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def example_intervals(
    metric: str, predictions: Sequence[NDArray], label: NDArray, differences: Sequence[Sequence[tuple[int, int]]]
) -> list[tuple[Interval, float]]:
    """Differences of a metric by the paired bootstrap over test examples, averaged over seeds in each draw.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13: examples are drawn with replacement,
    n of n, the same ones for all models; `DRAWS` draws from a generator seeded by `SEED`.

    Args:
        metric: one of `METRICS`.
        predictions: of each model (n,), every one scored once, however many differences it is in.
        label: (n,) the true classes or values.
        differences: per difference and seed, the places in `predictions` of a method and of the baseline.

    Returns:
        Each difference with its 95 % percentile interval, and the variance of its draws.
    """
    models = np.stack(predictions)
    pairs = [np.array(places) for places in differences]

    def averaged(counts: Array) -> Array:
        scores = METRICS[metric](models, label, counts)
        return np.stack([np.mean(scores[ours] - scores[theirs], axis=0) for ours, theirs in (p.T for p in pairs)])

    draws = _over_examples(averaged, metric, len(label))
    values = averaged(np.ones((1, len(label))))[:, 0]
    return [
        (Interval(float(value), *_percentiles(own)), float(own.var())) for value, own in zip(values, draws, strict=True)
    ]


def score_intervals(metric: str, predictions: Sequence[NDArray], label: NDArray) -> list[tuple[float, float]]:
    """95 % percentile bootstrap interval of each model's metric over test examples, on the draws of all differences.

    Args:
        metric: one of `METRICS`.
        predictions: of each model (n,).
        label: (n,) true classes or values.
    """
    models = np.stack(predictions)
    draws = _over_examples(lambda counts: METRICS[metric](models, label, counts), metric, len(label))
    return [_percentiles(own) for own in draws]


def _over_examples(statistic: Callable[[Array], Array], metric: str, n: int) -> Array:
    """A statistic (..., draws) of all draws of n examples."""
    kind = np.float32 if metric in COUNTED else np.float64
    kept = _kept_counts(n, DRAWS) if n * DRAWS <= _MOST_KEPT else _drawn_counts(n, DRAWS)
    return np.concatenate([statistic(counts.astype(kind)) for counts in kept], axis=-1)


def _percentiles(draws: Array) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@lru_cache(maxsize=2)
def _kept_counts(n: int, draws: int) -> tuple[NDArray[np.uint8], ...]:
    """Kept, since all runs of a column are scored on the same draws."""
    return tuple(_drawn_counts(n, draws))


def _drawn_counts(n: int, draws: int) -> Iterator[NDArray[np.uint8]]:
    generator = np.random.default_rng(SEED)
    size = max(1, _CHUNK // n)
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        drawn = generator.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        # An example is drawn once on average, and never as often as a byte holds.
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.uint8)
