"""Which values a score can have, as a fraction, by its name."""

from __future__ import annotations

import math
from collections.abc import Mapping

RANGES: Mapping[str, tuple[float, float]] = {
    "accuracy": (0, 1),
    "f1": (0, 1),
    "f1_macro": (0, 1),
    "matthews_correlation": (-1, 1),
    "pearson": (-1, 1),
    "spearman": (-1, 1),
    "strict": (0, 1),
    "lenient": (0, 1),
    "unanswered": (0, 1),
    "loss": (0, math.inf),
}
"""The least and the largest value of every score that the suite computes."""

_ROUNDING = 1e-9
"""So far beyond its range a score may be by rounding alone."""


def out_of_range(name: str, score: float | None) -> str | None:
    """What would be accepted in place of a score that cannot be; None for one that can, or of an unknown name."""
    low, high = RANGES.get(name, (-math.inf, math.inf))
    if score is None or low - _ROUNDING <= score <= high + _ROUNDING:
        return None
    return f"a number of at least {low}" if high == math.inf else f"a number from {low} to {high}"
