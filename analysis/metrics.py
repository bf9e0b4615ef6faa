"""Metrics from how often each example is drawn, so that one matrix of counts scores all bootstrap draws at once.

With every count 1 a metric is the metric itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Metric = Callable[[NDArray, NDArray, Array], Array]


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
    return METRICS[metric](prediction[None], label, weights)[0]


def _accuracy(predictions: NDArray, label: NDArray, counts: Array) -> Array:
    return _sums(predictions == label, counts) / counts.sum(1, dtype=np.float64)


def _sums(chosen: NDArray, counts: Array) -> Array:
    """How many of the chosen examples (models, n) are drawn: (models, draws), whole numbers."""
    return (counts @ chosen.T.astype(counts.dtype)).T.astype(np.float64)


def _f1(predictions: NDArray, label: NDArray, counts: Array) -> Array:
    """F1 of class 1; 0 where it is neither predicted nor present, as in scikit-learn."""
    doubled = 2 * _sums((predictions == 1) & (label == 1), counts)
    return _ratio(doubled, doubled + _sums((predictions == 1) ^ (label == 1), counts), otherwise=0.0)


def _of_each(metric: Metric) -> Metric:
    """A metric of one model (n,) as one of several (models, n)."""
    return lambda predictions, label, counts: np.stack([metric(own, label, counts) for own in predictions])


def _matthews(prediction: NDArray, label: NDArray, counts: Array) -> Array:
    """Matthews correlation of any number of classes (Gorodkin 2004); 0 where constant, as in scikit-learn."""
    matrix = _confusion(prediction, label, counts)
    true, predicted, total = matrix.sum(2), matrix.sum(1), matrix.sum((1, 2))
    covariance = np.trace(matrix, axis1=1, axis2=2) * total - (true * predicted).sum(1)
    variances = (total**2 - (true**2).sum(1)) * (total**2 - (predicted**2).sum(1))
    return _ratio(covariance, np.sqrt(variances), otherwise=0.0)


def _confusion(prediction: NDArray, label: NDArray, counts: Array) -> Array:
    """Confusion matrices (draws, classes, classes), true class first."""
    classes = int(max(prediction.max(), label.max())) + 1
    cells = label.astype(np.int64) * classes + prediction.astype(np.int64)
    return (counts @ np.eye(classes**2)[cells]).reshape(-1, classes, classes)


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


METRICS: dict[str, Metric] = {
    "accuracy": _accuracy,
    "strict": _accuracy,  # of generated answers: right or wrong against a label of right
    "lenient": _accuracy,
    "f1": _f1,
    "matthews_correlation": _of_each(_matthews),
    "pearson": _of_each(_pearson),
    "spearman": _of_each(_spearman),
}
"""Metrics (models, draws) of predictions (models, n), labels (n,) and how often each example is drawn (draws, n)."""
COUNTED = {"accuracy", "strict", "lenient", "f1"}
"""Metrics of sums of counts: whole numbers far below 2^24, which single precision holds exactly in half the time."""
