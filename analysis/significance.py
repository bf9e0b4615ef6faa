"""Tests from per-example predictions: McNemar's, one p-value over seeds, and Holm's correction over a family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr
from statsmodels.stats.multitest import multipletests

CLASSES = frozenset({"accuracy", "strict", "lenient", "f1", "matthews_correlation"})
"""Metrics of right and wrong predictions, to which McNemar's test applies."""


class McNemar(NamedTuple):
    """One pair of runs: examples that only the method has right, that only the baseline has, and the p-value."""

    only_ours: int
    only_theirs: int
    p: float


def mcnemar(ours: NDArray, theirs: NDArray, label: NDArray) -> McNemar:
    """Exact two-sided McNemar test that two trained models are right equally often.

    McNemar 1947: of the examples on which only one is right, each is as likely to be right, a binomial law.

    Args:
        ours: (n,) predicted classes of the method.
        theirs: (n,) predicted classes of the baseline.
        label: (n,) true classes.
    """
    right, other = ours == label, theirs == label
    only_ours, only_theirs = int((right & ~other).sum()), int((other & ~right).sum())
    return McNemar(only_ours, only_theirs, exact_p(only_ours, only_theirs))


def exact_p(first: int, second: int) -> float:
    """Two-sided exact binomial p-value of two discordant counts; 1 where there are none.

    Both tails of a symmetric law are equal: twice the smaller, `scipy.stats.binomtest` in a hundredth of its time.
    """
    return min(1.0, 2 * float(bdtr(min(first, second), first + second, 0.5)))


def majority_p(p_values: Sequence[float]) -> float:
    """One p-value from those of n seeds: n/k times the k-th smallest, k the smallest majority.

    Rueger 1978 (Metrika 25, 171): valid however the p-values depend on one another, and those of seeds do, since all
    are of the same test examples. Adding up the counts of seeds would treat one example as n independent ones. Of one
    or two seeds it is the larger p-value, of three 1.5 times the middle one. The hypothesis is that the models of
    every seed are right equally often.

    Raises:
        ValueError: if there is none.
    """
    n = len(p_values)
    if not n:
        raise ValueError("p_values: empty; accepted: at least one")
    k = n // 2 + 1
    return min(1.0, n / k * sorted(p_values)[k - 1])


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for being one family (Holm 1979), in the order given."""
    return [float(value) for value in multipletests(np.asarray(p_values), method="holm")[1]] if len(p_values) else []
