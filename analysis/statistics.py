"""Statistics of scores: summaries over seeds, and the paired bootstrap over test examples.

A metric is computed from how often each example is drawn, so that one matrix of counts scores all bootstrap draws at
once; with every count 1 it is the metric itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]

LEVEL = 0.95
DRAWS = 10_000
SEED = 0
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
    """A difference of scores with its bootstrap interval; NaN where the metric has no value in some draw."""

    difference: float
    low: float
    high: float


def summarize(scores: Sequence[float]) -> Summary:
    """Summary of at least one score, with the two-sided 95 % Student t interval of the mean over seeds."""
    values = np.asarray(scores, dtype=np.float64)
    n, mean, median = len(values), float(values.mean()), float(np.median(values))
    if n == 1:
        return Summary(1, mean, None, median, None, None)
    std = float(values.std(ddof=1))
    margin = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * std / n**0.5
    return Summary(n, mean, std, median, mean - margin, mean + margin)


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


def paired_bootstrap(metric: str, pairs: Sequence[tuple[NDArray, NDArray]], label: NDArray) -> Interval:
    """Difference of a metric with its 95 % percentile interval over test examples, averaged over seeds in each draw.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13: examples are drawn with replacement,
    n of n, the same ones for both methods and all seeds; `DRAWS` draws from a generator seeded by `SEED`.

    Args:
        metric: one of `METRICS`.
        pairs: per seed, the predictions (n,) of a method and of the baseline.
        label: (n,) the true classes or values.
    """

    def difference(counts: Array | None) -> Array:
        seeds = [score(metric, ours, label, counts) - score(metric, theirs, label, counts) for ours, theirs in pairs]
        return np.mean(seeds, axis=0)

    draws = np.concatenate([difference(counts) for counts in _bootstrap_counts(len(label))])
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(difference(None)[0]), float(low), float(high))


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
