"""Statistics of scores: summaries and intervals over seeds, over test examples, and over both.

A metric is computed from how often each example is drawn, so that one matrix of counts scores all bootstrap draws at
once; with every count 1 it is the metric itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import stdtrit

Array = NDArray[np.float64]

LEVEL = 0.95
DRAWS = 10_000
SEED = 0
BOOTSTRAP_MINIMUM = 5
"""Fewest scores with a bootstrap interval: of four, a nominal 95 % interval covers about 80 % (docs/RECORD.md)."""
_CHUNK = 2**22
"""Counts held at once: 32 MiB."""


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
    found = stats.bootstrap((values,), np.mean, axis=-1, n_resamples=DRAWS, confidence_level=LEVEL, rng=SEED)
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


def score(metric: str, prediction: NDArray, label: NDArray, counts: Array | None = None) -> Array:
    """A metric of examples drawn `counts` times.

    Args:
        metric: one of `METRICS`.
        prediction: (n,) predicted classes or values.
        label: (n,) true classes or values.
        counts: (draws, n) how often each example is drawn; None: each once.

    Returns:
        (draws,) scores as fractions; NaN where the metric is undefined.

    Raises:
        KeyError: if the metric is unknown.
    """
    weights = np.ones((1, len(label))) if counts is None else counts
    return METRICS[metric](prediction, label, weights)


def example_interval(metric: str, pairs: Sequence[tuple[NDArray, NDArray]], label: NDArray) -> tuple[Interval, float]:
    """Difference of a metric by the paired bootstrap over test examples, averaged over seeds in each draw.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13: examples are drawn with replacement,
    n of n, the same ones for both methods and all seeds; `DRAWS` draws from a generator seeded by `SEED`.

    Args:
        metric: one of `METRICS`.
        pairs: per seed, the predictions (n,) of a method and of the baseline.
        label: (n,) the true classes or values.

    Returns:
        The difference with its 95 % percentile interval, and the variance of the draws.
    """

    def difference(counts: Array | None) -> Array:
        seeds = [score(metric, ours, label, counts) - score(metric, theirs, label, counts) for ours, theirs in pairs]
        return np.mean(seeds, axis=0)

    draws = _over_examples(difference, len(label))
    return Interval(float(difference(None)[0]), *_percentiles(draws)), float(draws.var())


def score_interval(metric: str, prediction: NDArray, label: NDArray) -> tuple[float, float]:
    """95 % percentile bootstrap interval of one model's metric over test examples.

    Draws are those of `example_interval`.

    Args:
        metric: one of `METRICS`.
        prediction: (n,) predicted classes or values.
        label: (n,) true classes or values.
    """
    return _percentiles(_over_examples(lambda counts: score(metric, prediction, label, counts), len(label)))


def _over_examples(statistic: Callable[[Array], Array], n: int) -> Array:
    return np.concatenate([statistic(counts) for counts in _bootstrap_counts(n)])


def _percentiles(draws: Array) -> tuple[float, float]:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _bootstrap_counts(n: int) -> Iterator[Array]:
    generator = np.random.default_rng(SEED)
    size = max(1, _CHUNK // n)
    for start in range(0, DRAWS, size):
        rows = min(size, DRAWS - start)
        drawn = generator.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def _confusion(prediction: NDArray, label: NDArray, counts: Array) -> Array:
    """Confusion matrices (draws, classes, classes), true class first."""
    classes = int(max(prediction.max(), label.max())) + 1
    cells = label.astype(np.int64) * classes + prediction.astype(np.int64)
    return (counts @ np.eye(classes**2)[cells]).reshape(-1, classes, classes)


def _accuracy(prediction: NDArray, label: NDArray, counts: Array) -> Array:
    return counts @ (prediction == label).astype(np.float64) / counts.sum(1)


def _f1(prediction: NDArray, label: NDArray, counts: Array) -> Array:
    """F1 of class 1; 0 where it is neither predicted nor present, as in scikit-learn."""
    hits, wrong = (prediction == 1) & (label == 1), (prediction == 1) ^ (label == 1)
    doubled = 2 * (counts @ hits.astype(np.float64))
    return _ratio(doubled, doubled + counts @ wrong.astype(np.float64), otherwise=0.0)


def _matthews(prediction: NDArray, label: NDArray, counts: Array) -> Array:
    """Matthews correlation of any number of classes (Gorodkin 2004); 0 where constant, as in scikit-learn."""
    matrix = _confusion(prediction, label, counts)
    true, predicted, total = matrix.sum(2), matrix.sum(1), matrix.sum((1, 2))
    covariance = np.trace(matrix, axis1=1, axis2=2) * total - (true * predicted).sum(1)
    variances = (total**2 - (true**2).sum(1)) * (total**2 - (predicted**2).sum(1))
    return _ratio(covariance, np.sqrt(variances), otherwise=0.0)


def _pearson(prediction: NDArray, label: NDArray, counts: Array) -> Array:
    """Pearson correlation; undefined where either side is constant."""
    return _correlation(prediction[None], label[None], counts)


def _spearman(prediction: NDArray, label: NDArray, counts: Array) -> Array:
    """Spearman correlation: Pearson's of the ranks within each draw, ties sharing their mean rank."""
    return _correlation(_ranks(prediction, counts), _ranks(label, counts), counts)


def _ranks(values: NDArray, counts: Array) -> Array:
    """Mean rank (draws, n) that each example's value has among the examples drawn."""
    order = np.argsort(values, kind="stable")
    firsts = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
    drawn = np.add.reduceat(counts[:, order], firsts, axis=1)
    mean_rank = np.cumsum(drawn, axis=1) - (drawn - 1) / 2
    return mean_rank[:, np.searchsorted(values[order][firsts], values)]


def _correlation(x: NDArray, y: NDArray, counts: Array) -> Array:
    """Weighted Pearson correlation (draws,) of x and y, (draws, n) or (1, n)."""
    total = counts.sum(1, keepdims=True)

    def centred(values: NDArray) -> Array:
        shifted = values.astype(np.float64)
        shifted -= shifted[:, :1]  # a constant becomes 0 exactly
        return shifted - (counts * shifted).sum(1, keepdims=True) / total

    x, y = centred(x), centred(y)
    variances = (counts * x**2).sum(1) * (counts * y**2).sum(1)
    return _ratio((counts * x * y).sum(1), np.sqrt(variances), otherwise=np.nan)


def _ratio(numerator: Array, denominator: Array, otherwise: float) -> Array:
    return np.divide(numerator, denominator, out=np.full_like(numerator, otherwise), where=denominator > 0)


METRICS: dict[str, Callable[[NDArray, NDArray, Array], Array]] = {
    "accuracy": _accuracy,
    "strict": _accuracy,  # of generated answers: right or wrong against a label of right
    "lenient": _accuracy,
    "f1": _f1,
    "matthews_correlation": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
