"""How often intervals hold the truth, on simulated data: the numbers that docs/RECORD.md states."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import (
    Interval,
    bootstrap_interval,
    median_interval,
    score_intervals,
    seed_interval,
    summarize,
    two_level_interval,
)
from tests.analysis.conftest import example_interval


def coverage(interval: Callable[[np.random.Generator], tuple[float, float]], truth: float, repeats: int) -> float:
    """The share of simulated data sets whose interval holds the truth."""
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(repeats):
        low, high = interval(generator)
        held += low <= truth <= high
    return held / repeats


def error(repeats: int) -> float:
    """Three standard errors of a coverage of 95 %."""
    return 3 * (0.95 * 0.05 / repeats) ** 0.5


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_t_interval_over_seeds_holds_its_level_for_any_number_of_seeds(n: int) -> None:
    def interval(generator: np.random.Generator) -> tuple[float, float]:
        found = summarize(generator.normal(80, 2, n))
        assert found.low is not None
        assert found.high is not None
        return found.low, found.high

    assert coverage(interval, 80, 4000) == pytest.approx(0.95, abs=error(4000))


@pytest.mark.parametrize("n", [2, 5])
def test_the_interval_of_paired_differences_over_seeds_holds_its_level(n: int) -> None:
    # What a seed does to both methods alike (a hard split) cancels.
    def interval(generator: np.random.Generator) -> tuple[float, float]:
        shared = generator.normal(0, 5, n)
        ours, theirs = 81 + shared + generator.normal(0, 1, n), 80 + shared + generator.normal(0, 2, n)
        found = seed_interval(list(ours - theirs))
        assert found is not None
        return found.low, found.high

    assert coverage(interval, 1, 4000) == pytest.approx(0.95, abs=error(4000))


@pytest.mark.slow
@pytest.mark.parametrize(("n", "below"), [(5, 0), (7, 1)])
def test_the_bootstrap_of_a_median_ends_at_values_and_holds_what_their_ranks_say(n: int, below: int) -> None:
    # It leaves out `below` values on either side; the median is beyond with the probability of so few coins' heads.
    def interval(generator: np.random.Generator) -> tuple[float, float]:
        found = median_interval(generator.lognormal(0, 0.1, n))
        assert found is not None
        return found

    share = 1 - 2 * stats.binom.cdf(below, n, 0.5)
    assert coverage(interval, 1, 1500) == pytest.approx(share, abs=3 * (share * (1 - share) / 1500) ** 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "least", "most"), [(5, 0.80, 0.88), (10, 0.88, 0.94), (30, 0.92, 0.965)])
def test_the_bootstrap_over_few_seeds_is_too_narrow_by_what_is_documented(n: int, least: float, most: float) -> None:
    def interval(generator: np.random.Generator) -> tuple[float, float]:
        found = bootstrap_interval(list(generator.normal(80, 2, n)))
        assert found is not None
        return found

    assert least <= coverage(interval, 80, 800) <= most


def simulated(generator: np.random.Generator, seeds: int, examples: int, seed_spread: float) -> tuple[list, np.ndarray]:
    """Predictions of two methods that are right with 80 % and 70 %: half of the examples always or never, and half anew
    with every seed, whose training moves the share there by up to `seed_spread`."""
    label = generator.integers(2, size=examples)
    fixed = generator.random(examples) < 0.5
    always = [generator.random(examples) < p for p in (0.8, 0.7)]
    pairs = []
    for _ in range(seeds):
        anew = [generator.random(examples) < p + generator.uniform(-1, 1) * seed_spread for p in (0.8, 0.7)]
        right = [np.where(fixed, kept, drawn) for kept, drawn in zip(always, anew, strict=True)]
        pairs.append(tuple(np.where(hit, label, 1 - label) for hit in right))
    return pairs, label


def by_seed(pairs: list, label: np.ndarray) -> list[float]:
    return [float((ours == label).mean() - (theirs == label).mean()) for ours, theirs in pairs]


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "examples"), [(1, 400), (3, 200)])
def test_the_paired_bootstrap_over_examples_holds_its_level_for_given_seeds(
    monkeypatch: pytest.MonkeyPatch, seeds: int, examples: int
) -> None:
    monkeypatch.setattr("analysis.statistics.DRAWS", 1000)

    def interval(generator: np.random.Generator) -> tuple[float, float]:
        found, _ = example_interval("accuracy", *simulated(generator, seeds, examples, seed_spread=0.0))
        return found.low, found.high

    assert coverage(interval, 0.1, 800) == pytest.approx(0.95, abs=error(800))


@pytest.mark.slow
def test_the_bootstrap_of_one_score_holds_its_level_for_the_given_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.statistics.DRAWS", 1000)

    def interval(generator: np.random.Generator) -> tuple[float, float]:
        pairs, label = simulated(generator, 1, 400, seed_spread=0.0)
        return score_intervals("accuracy", [pairs[0][0]], label)[0]

    assert coverage(interval, 0.8, 800) == pytest.approx(0.95, abs=error(800))


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "spread"), [(2, 0.0), (5, 0.0), (2, 0.2), (3, 0.2), (5, 0.2)])
def test_the_interval_over_seeds_and_examples_holds_its_level_or_more(
    monkeypatch: pytest.MonkeyPatch, seeds: int, spread: float
) -> None:
    monkeypatch.setattr("analysis.statistics.DRAWS", 400)

    def both(generator: np.random.Generator) -> tuple[float, float]:
        pairs, label = simulated(generator, seeds, 200, spread)
        _, variance = example_interval("accuracy", pairs, label)
        found = two_level_interval(by_seed(pairs, label), variance, len(label))
        assert isinstance(found, Interval)
        return found.low, found.high

    assert coverage(both, 0.1, 800) >= 0.95 - error(800)


@pytest.mark.slow
def test_intervals_over_one_of_both_miss_what_the_other_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.statistics.DRAWS", 400)

    def examples(generator: np.random.Generator) -> tuple[float, float]:
        found, _ = example_interval("accuracy", *simulated(generator, 3, 200, 0.2))
        return found.low, found.high

    def seeds(generator: np.random.Generator) -> tuple[float, float]:
        found = seed_interval(by_seed(*simulated(generator, 5, 200, 0.0)))
        assert found is not None
        return found.low, found.high

    assert coverage(examples, 0.1, 1000) < 0.8
    assert coverage(seeds, 0.1, 1000) < 0.8
