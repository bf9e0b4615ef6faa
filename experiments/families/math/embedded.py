"""The word problems that the suite generates."""

from __future__ import annotations

from experiments.embedded.arithmetic import GENERATOR_VERSION, ROWS, word_problems
from experiments.embedded.generator import Generator

GENERATOR = Generator(GENERATOR_VERSION, {"math/gsm8k": ROWS}, lambda _, split: word_problems(split))
