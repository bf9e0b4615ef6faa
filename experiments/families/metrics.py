"""The metrics of GLUE and of image classification, as an `evaluate.Metric` that needs no script and no network.

Which task has which metric: Wang et al. 2019 (GLUE), table 1. The scores themselves are scikit-learn's and SciPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

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


def _matthews(predictions: np.ndarray, references: np.ndarray) -> float:
    # scikit-learn defines it as 0 where one side is constant.
    return float(matthews_corrcoef(references, predictions))


def _pearson(predictions: np.ndarray, references: np.ndarray) -> float | None:
    return _correlation(pearsonr, predictions, references)


def _spearman(predictions: np.ndarray, references: np.ndarray) -> float | None:
    return _correlation(spearmanr, predictions, references)


_ACCURACY = {"accuracy": _accuracy}
_SCORES: Mapping[str, Mapping[str, Callable[[np.ndarray, np.ndarray], float | None]]] = {
    "cola": {"matthews_correlation": _matthews},
    "sst2": _ACCURACY,
    "mrpc": {"accuracy": _accuracy, "f1": _f1},
    "stsb": {"pearson": _pearson, "spearman": _spearman},
    "qnli": _ACCURACY,
    "rte": _ACCURACY,
    "mnli": _ACCURACY,
    "qqp": {"accuracy": _accuracy, "f1": _f1},
    "wnli": _ACCURACY,
    "accuracy": _ACCURACY,  # of image classification
}

PRIMARY: Mapping[str, str] = {task: next(iter(scores)) for task, scores in _SCORES.items()}
"""The one metric that selects the epoch and heads a table: the GPart authors' choice (PAPERS.md, GLUE); MNLI, QQP and
WNLI, which they leave out, by accuracy."""


def names(metric: str) -> tuple[str, ...]:
    """The scores that a metric holds, the primary one first; none where there is no such metric."""
    return tuple(_SCORES.get(metric, ()))


class Labels(evaluate.Metric):
    """The official metrics of one GLUE task, or `accuracy`.

    `Labels(config_name="mrpc").compute(predictions=..., references=...)`.

    Predictions and references are class ids, or for `stsb` real numbers. Scores are fractions, not per cent. What is
    undefined is None, never NaN: Pearson and Spearman where a side is constant or not finite. Matthews and F1 are 0
    in their degenerate cases, as scikit-learn defines them.

    Raises:
        ValueError: if `config_name` is neither a GLUE task nor `accuracy`.
    """

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in _SCORES:
            raise ValueError(f"metric={self.config_name}: no such metric; accepted: {', '.join(_SCORES)}")
        value = datasets.Value("float64" if self.config_name == "stsb" else "int64")
        return evaluate.MetricInfo(
            description="The official metrics of the GLUE benchmark.",
            citation="Wang et al., GLUE, ICLR 2019 (arXiv 1804.07461)",
            inputs_description="predictions and references: class ids, for stsb real numbers",
            features=datasets.Features({"predictions": value, "references": value}),
        )

    def _compute(self, *, predictions: Sequence[Any], references: Sequence[Any]) -> Scores:
        # The format "numpy" of `datasets` would round the values to float32.
        predicted, expected = np.asarray(predictions), np.asarray(references)
        return {name: score(predicted, expected) for name, score in _SCORES[self.config_name].items()}


def compute(metric: str, predictions: ArrayLike | Sequence[Any], references: ArrayLike | Sequence[Any]) -> Scores:
    """All scores of predictions by labels.

    Args:
        metric: a name in `PRIMARY`: "sst2", "accuracy", ...
        predictions: class ids or values, shape (n,).
        references: class ids or values, shape (n,).

    Returns:
        score by name, the primary one first; None where undefined.

    Raises:
        ValueError: if the metric is unknown, nothing is given, or the lengths differ.
    """
    predicted, expected = np.asarray(predictions), np.asarray(references)
    if predicted.shape != expected.shape or predicted.ndim != 1 or not len(predicted):
        raise ValueError(f"predictions {predicted.shape} and references {expected.shape}; accepted: both (n,), n > 0")
    return Labels(config_name=metric, keep_in_memory=True).compute(predictions=predicted, references=expected)
