from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from analysis.metrics import METRICS, score
from analysis.statistics import (
    bootstrap_interval,
    example_intervals,
    median_interval,
    seed_interval,
    summarize,
    two_level_interval,
)
from tests.analysis.conftest import example_interval

CLASSES: dict[str, Callable[[NDArray, NDArray], float]] = {
    "accuracy": accuracy_score,
    "f1": f1_score,
    "matthews_correlation": matthews_corrcoef,
}
VALUES = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}


def test_summary_is_that_of_the_standard_library_and_scipy() -> None:
    scores = [0.71, 0.74, 0.69, 0.78]
    found = summarize(scores)
    assert found.mean == pytest.approx(statistics.mean(scores))
    assert found.std == pytest.approx(statistics.stdev(scores))
    assert found.median == pytest.approx(statistics.median(scores))
    interval = stats.t.interval(0.95, 3, loc=found.mean, scale=stats.sem(scores))
    assert (found.low, found.high) == pytest.approx(interval)


def test_one_score_has_no_spread() -> None:
    found = summarize([0.7])
    assert (found.n, found.mean, found.std, found.low, found.high) == (1, 0.7, None, None, None)


def test_the_interval_of_a_median_is_scipys_percentile_bootstrap() -> None:
    values = list(np.random.default_rng(0).normal(1.3, 0.1, 40))
    found = stats.bootstrap((values,), np.median, method="percentile", n_resamples=10_000, rng=1)
    assert median_interval(values) == pytest.approx(tuple(found.confidence_interval), abs=0.005)
    assert median_interval(values[:4]) is None
    assert median_interval([1.5] * 5) == (1.5, 1.5)


def drawn(n: int, seed: int) -> tuple[NDArray, NDArray]:
    """Resampled indices (5, n) and how often each example is in each of them (5, n)."""
    indices = np.random.default_rng(seed).integers(n, size=(5, n))
    counts = np.stack([np.bincount(row, minlength=n) for row in indices]).astype(float)
    return indices, counts


@pytest.mark.parametrize(
    ("metric", "classes"),
    [("accuracy", 2), ("accuracy", 3), ("f1", 2), ("matthews_correlation", 2), ("matthews_correlation", 3)],
)
def test_class_metrics_of_every_resample_are_scikit_learns(metric: str, classes: int) -> None:
    generator = np.random.default_rng(0)
    label, prediction = generator.integers(classes, size=(2, 90))
    indices, counts = drawn(90, 1)
    expected = [CLASSES[metric](label[row], prediction[row]) for row in indices]
    assert score(metric, prediction, label, counts) == pytest.approx(expected, abs=1e-12)
    assert score(metric, prediction, label) == pytest.approx([CLASSES[metric](label, prediction)], abs=1e-12)


@pytest.mark.parametrize("metric", VALUES)
def test_correlations_of_every_resample_are_scipys(metric: str) -> None:
    generator = np.random.default_rng(0)
    label = np.round(generator.uniform(0, 5, 80), 1).astype(np.float32)  # with ties, as STS-B
    prediction = (label + generator.normal(0, 1, 80)).astype(np.float32)
    indices, counts = drawn(80, 1)
    expected = [VALUES[metric](label[row].astype(float), prediction[row].astype(float)).statistic for row in indices]
    assert score(metric, prediction, label, counts) == pytest.approx(expected, abs=1e-12)
    assert score(metric, prediction, label) == pytest.approx(VALUES[metric](label, prediction).statistic, abs=1e-5)


def test_degenerate_predictions_score_as_scikit_learn_and_scipy_define() -> None:
    label, constant = np.arange(20) % 2, np.zeros(20, dtype=int)
    assert score("matthews_correlation", constant, label) == 0
    assert score("f1", constant, constant) == 0
    assert np.isnan(score("pearson", np.full(20, 0.1), label)[0])
    assert np.isnan(score("spearman", np.full(20, 0.1), label)[0])


def test_the_paired_bootstrap_agrees_with_scipys() -> None:
    generator = np.random.default_rng(0)
    label = generator.integers(2, size=300)
    ours = np.where(generator.random(300) < 0.85, label, 1 - label)
    theirs = np.where(generator.random(300) < 0.75, label, 1 - label)

    def difference(a: NDArray, b: NDArray, c: NDArray, axis: int) -> NDArray:
        return (a == c).mean(axis) - (b == c).mean(axis)

    expected = stats.bootstrap(
        (ours, theirs, label), difference, paired=True, vectorized=True, n_resamples=10_000, method="percentile", rng=1
    ).confidence_interval
    found = example_interval("accuracy", [(ours, theirs)], label)[0]
    assert found.difference == pytest.approx(accuracy_score(label, ours) - accuracy_score(label, theirs))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.005)


def test_seeds_are_averaged_inside_each_draw() -> None:
    generator = np.random.default_rng(0)
    label = generator.integers(2, size=200)
    pairs = [tuple(np.where(generator.random(200) < p, label, 1 - label) for p in (0.9, 0.7)) for _ in range(4)]
    each = [example_interval("accuracy", [pair], label)[0] for pair in pairs]
    all_seeds = example_interval("accuracy", pairs, label)[0]
    assert all_seeds.difference == pytest.approx(np.mean([one.difference for one in each]))
    assert all_seeds.high - all_seeds.low < min(one.high - one.low for one in each)
    repeated = example_interval("accuracy", [pairs[0]] * 3, label)[0]
    assert repeated == pytest.approx(each[0])


@pytest.mark.parametrize("metric", METRICS)
def test_a_method_against_itself_differs_by_exactly_nothing_and_draws_are_fixed(metric: str) -> None:
    generator = np.random.default_rng(0)
    label, ours, theirs = generator.integers(2, size=(3, 60))
    assert example_interval(metric, [(ours, ours)], label)[0] == (0, 0, 0)
    assert example_interval(metric, [(ours, theirs)], label)[0] == example_interval(metric, [(ours, theirs)], label)[0]


def test_the_interval_covers_the_true_difference_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    # 400 data sets of 150 examples; both methods err together on some, as trained models do. True difference: 0.1.
    monkeypatch.setattr("analysis.statistics.DRAWS", 500)
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        easy = generator.random(150) < 0.5
        label = generator.integers(2, size=150)
        ours = np.where(easy | (generator.random(150) < 0.7), label, 1 - label)
        theirs = np.where(easy | (generator.random(150) < 0.5), label, 1 - label)
        _, low, high = example_interval("accuracy", [(ours, theirs)], label)[0]
        covered += low <= 0.1 <= high
    assert 0.92 <= covered / 400 <= 0.98  # 95 % within three standard errors


def test_the_bootstrap_interval_over_seeds_is_scipys_bca_and_fixed() -> None:
    scores = [0.71, 0.74, 0.69, 0.78, 0.75, 0.66]
    found = bootstrap_interval(scores)
    expected = stats.bootstrap((scores,), np.mean, method="BCa", n_resamples=50_000, rng=7).confidence_interval
    assert found == pytest.approx((expected.low, expected.high), abs=0.003)
    assert bootstrap_interval(scores) == found


def test_few_or_equal_scores_have_no_bootstrap_interval() -> None:
    assert bootstrap_interval([0.7, 0.8, 0.75, 0.77]) is None
    assert bootstrap_interval([0.7] * 6) is None


def test_the_interval_over_seeds_is_scipys_paired_t_test() -> None:
    ours, theirs = np.array([0.81, 0.84, 0.80]), np.array([0.78, 0.80, 0.79])
    found = seed_interval(list(ours - theirs))
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert seed_interval([0.1]) is None


def test_the_two_level_interval_adds_half_widths_in_squares() -> None:
    differences = [0.1, 0.2, 0.4]
    alone = seed_interval(differences)
    assert alone is not None
    found = two_level_interval(differences, 0.01, 1000)
    assert found is not None
    over_examples = stats.t.ppf(0.975, 999) * 0.1
    assert found.high - found.difference == pytest.approx(
        ((alone.high - alone.difference) ** 2 + over_examples**2) ** 0.5
    )
    assert two_level_interval(differences, 0.0, 1000) == pytest.approx(alone)
    assert two_level_interval([0.1, 0.1], 0.01, 1000) == pytest.approx((0.1, 0.1 - over_examples, 0.1 + over_examples))
    assert two_level_interval([0.1], 0.01, 1000) is None


def test_the_variance_over_examples_is_that_of_a_mean() -> None:
    generator = np.random.default_rng(0)
    label = generator.integers(2, size=500)
    ours, theirs = (np.where(generator.random(500) < p, label, 1 - label) for p in (0.9, 0.7))
    gains = (ours == label).astype(float) - (theirs == label)
    _, variance = example_interval("accuracy", [(ours, theirs)], label)
    assert variance == pytest.approx(gains.var() / 500, rel=0.05)


@pytest.mark.parametrize("metric", METRICS)
def test_differences_drawn_together_are_those_drawn_alone(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    label, *models = generator.integers(2, size=(5, 60))
    pairs = [[(0, 3), (1, 3)], [(2, 3)]]
    together = example_intervals(metric, models, label, pairs)
    alone = [example_interval(metric, [(models[a], models[b]) for a, b in own], label) for own in pairs]
    assert together == alone
    monkeypatch.setattr("analysis.statistics._MOST_KEPT", 0)  # drawn anew, as for many examples
    assert example_intervals(metric, models, label, pairs) == together
