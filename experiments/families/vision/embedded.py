"""The digits of scikit-learn, which need no download."""

from __future__ import annotations

from experiments.embedded.generator import Generator
from experiments.embedded.images import GENERATOR_VERSION
from experiments.embedded.vision import DIGITS, TEST_ROWS_PER_CLASS, TOTAL_ROWS, digits

_TEST_ROWS = TEST_ROWS_PER_CLASS * len(DIGITS)
_TOTALS = {"train": TOTAL_ROWS - _TEST_ROWS, "test": _TEST_ROWS}

GENERATOR = Generator(GENERATOR_VERSION, {"vision/digits": _TOTALS}, lambda _, split: digits(split))
