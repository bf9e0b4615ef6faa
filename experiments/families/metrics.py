"""The scores of predicted labels, each an `evaluate.Metric` that needs no script and no network.

The scores themselves are scikit-learn's and SciPy's. Which task has which, and which of them selects, is data
(conf/task).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from experiments.families.labels import computable

Scores = dict[str, float | None]


def _correlation(statistic: Callable[..., Any], predictions: np.ndarray, references: np.ndarray) -> float | None:
    """A correlation, or None where it is undefined: a constant side, fewer than two values, a value not finite."""
    sides = (predictions, references)
    if len(predictions) < 2 or any(not np.isfinite(side).all() or np.ptp(side) == 0 for side in sides):
        return None
    return float(statistic(predictions, references).statistic)


def _accuracy(predictions: np.ndarray, references: np.ndarray) -> float:
    return float(accuracy_score(references, predictions))


def _f1(predictions: np.ndarray, references: np.ndarray) -> float:
    # Class 1 is the positive one; 0 where no prediction and no reference is positive.
    return float(f1_score(references, predictions, zero_division=0))


def _f1_macro(predictions: np.ndarray, references: np.ndarray) -> float:
    # The mean over the classes that are predicted or referred to.
    return float(f1_score(references, predictions, average="macro", zero_division=0))


def _matthews(predictions: np.ndarray, references: np.ndarray) -> float:
    # scikit-learn defines it as 0 where one side is constant.
    return float(matthews_corrcoef(references, predictions))


def _pearson(predictions: np.ndarray, references: np.ndarray) -> float | None:
    return _correlation(pearsonr, predictions, references)


def _spearman(predictions: np.ndarray, references: np.ndarray) -> float | None:
    return _correlation(spearmanr, predictions, references)


SCORES: Mapping[str, Callable[[np.ndarray, np.ndarray], float | None]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "matthews_correlation": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
"""From predictions and references, both (n,), to the score."""


class LabelMetric(evaluate.Metric):
    """One score: `LabelMetric(config_name="f1").compute(predictions=..., references=...)`.

    Predictions and references are class ids, or for a correlation real numbers. Scores are fractions, not per cent.
    What is undefined is None, never NaN: Pearson and Spearman where a side is constant or not finite. Matthews and F1
    are 0 in their degenerate cases, as scikit-learn defines them.

    Raises:
        ValueError: if `config_name` is not one of `SCORES`.
    """

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in SCORES:
            raise ValueError(f"metric={self.config_name}: no such metric; accepted: {', '.join(SCORES)}")
        value = datasets.Value("float64" if self.config_name in computable(None) else "int64")
        return evaluate.MetricInfo(
            description="A score of predicted labels.",
            citation="Pedregosa et al., Scikit-learn, JMLR 2011; Virtanen et al., SciPy 1.0, Nature Methods 2020",
            inputs_description="predictions and references: class ids, for correlations real numbers",
            features=datasets.Features({"predictions": value, "references": value}),
        )

    def _compute(self, *, predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
        # The format "numpy" of `datasets` would round the values to float32.
        predicted, expected = np.asarray(predictions), np.asarray(references)
        return {self.config_name: SCORES[self.config_name](predicted, expected)}


def compute(
    names: Iterable[str], predictions: ArrayLike | Sequence[Any], references: ArrayLike | Sequence[Any]
) -> Scores:
    """Scores of predictions by labels.

    Args:
        names: of `SCORES`.
        predictions: class ids or values, shape (n,).
        references: class ids or values, shape (n,).

    Returns:
        score by name, in the order of the names; None where undefined.

    Raises:
        ValueError: if there is no such score, nothing is given, or the lengths differ.
    """
    predicted, expected = np.asarray(predictions), np.asarray(references)
    if predicted.shape != expected.shape or predicted.ndim != 1 or not len(predicted):
        raise ValueError(f"predictions {predicted.shape} and references {expected.shape}; accepted: both (n,), n > 0")
    scores: Scores = {}
    for name in names:
        scores |= LabelMetric(config_name=name, keep_in_memory=True).compute(predictions=predicted, references=expected)
    return scores
