"""Whether the scores of two records of one run are one score to within what test examples tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from experiments.commands.agreement import PREDICTIONS, Finding, Kept
from experiments.families.metrics import SCORES

LEVEL = 0.95
_DRAWS = 2_000
_PROPORTIONS = ("accuracy", "strict", "lenient", "unanswered")
_ROUNDING = 1e-5
"""Largest difference between a recorded score and the same score from its predictions (correlations in float32)."""

Score = Callable[[np.ndarray, np.ndarray], float | None]


def intervals(then: Kept, now: Kept) -> list[Finding]:
    """Each split's primary score: the paired bootstrap where both have their predictions, else one interval.

    That one is of the recorded score where it is a proportion (Wilson 1927) and has to hold the score of now, else the
    bootstrap's of the score of now, and has to hold the recorded one.
    """
    metric = then.record.key.metric
    return [_compared(split, metric, a, b, then, now) for split, a, b in _common(then, now, metric)]


def _common(then: Kept, now: Kept, metric: str) -> Iterator[tuple[str, float, float]]:
    old, new = then.record.metrics, now.record.metrics
    pairs = {"test": (old.test, new.test), "selection": (old.selection, new.selection)}
    pairs |= {name: (scores, new.further_tests.get(name)) for name, scores in old.further_tests.items()}
    for split, (before, after) in pairs.items():
        a, b = (before or {}).get(metric), (after or {}).get(metric)
        if a is not None and b is not None:
            yield split, a, b


def _compared(split: str, metric: str, before: float, after: float, then: Kept, now: Kept) -> Finding:
    part, said = f"{split} {metric}", f"recorded {before:.4f}, now {after:.4f}"
    score = SCORES["accuracy" if metric == "strict" else metric] if metric in (*SCORES, "strict") else None
    new, old = _frame(now, split, score, after), _frame(then, split, score, before)
    if old is not None and new is not None and score and _same_examples(old, new):
        low, high = _bootstrap(lambda p, q, y: _difference(score, p, q, y), new.prediction, old.prediction, old.label)
        return Finding(part, low <= 0 <= high, f"{said}; paired difference {_shown(low, high, len(old))}")
    if metric in _PROPORTIONS and new is not None:
        low, high = proportion_confint(round(before * len(new)), len(new), 1 - LEVEL, "wilson")
        return Finding(part, low <= after <= high, f"{said}; of the recorded score {_shown(low, high, len(new))}")
    if new is not None and score:
        low, high = _bootstrap(lambda p, y: _number(score(p, y)), new.prediction, new.label)
        return Finding(part, low <= before <= high, f"{said}; of the score of now {_shown(low, high, len(new))}")
    return Finding(part, None, f"{said}; no predictions to take an interval from")


def _frame(kept: Kept, split: str, score: Score | None, expected: float) -> pd.DataFrame | None:
    """The predictions of a split in the order of their ids, where they are there and give the score."""
    path = kept.file(PREDICTIONS)
    if path is None or score is None:
        return None
    frame = pd.read_parquet(path, columns=["split", "example_id", "prediction", "label"])
    frame = frame[frame["split"] == split].sort_values("example_id", ignore_index=True)
    found = score(frame["prediction"].to_numpy(), frame["label"].to_numpy()) if len(frame) else None
    return frame if found is not None and abs(found - expected) <= _ROUNDING else None


def _same_examples(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    return a[["example_id", "label"]].equals(b[["example_id", "label"]]) and a["example_id"].is_unique


def _difference(score: Score, new: np.ndarray, old: np.ndarray, label: np.ndarray) -> float:
    return _number(score(new, label)) - _number(score(old, label))


def _number(score: float | None) -> float:
    return np.nan if score is None else score


def _bootstrap(statistic: Callable[..., float], *columns: pd.Series) -> tuple[float, float]:
    """Percentile interval over examples (Efron and Tibshirani 1993, chapter 13), drawn by a fixed seed."""
    found = stats.bootstrap(
        tuple(column.to_numpy() for column in columns),
        statistic,
        n_resamples=_DRAWS,
        paired=True,
        vectorized=False,
        confidence_level=LEVEL,
        method="percentile",
        rng=0,
    )
    low, high = map(float, found.confidence_interval)
    return low, high


def _shown(low: float, high: float, examples: int) -> str:
    return f"{100 * LEVEL:.0f} % interval [{low:+.4f}, {high:+.4f}], {examples} examples"
