from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from analysis.significance import McNemar, exact_p, holm, majority_p, mcnemar


def test_mcnemars_textbook_table() -> None:
    # Agresti, "Categorical Data Analysis", 2nd edition, table 10.1: approval of the prime minister, 1,600 voters asked
    # twice; 150 changed one way, 86 the other; McNemar's z = -4.17.
    p = exact_p(86, 150)
    assert p == pytest.approx(statsmodels_mcnemar([[794, 150], [86, 570]], exact=True).pvalue)
    assert p == pytest.approx(2 * stats.norm.sf((150 - 86) / (150 + 86) ** 0.5), rel=0.3)
    assert exact_p(1, 5) == pytest.approx(2 * (1 + 6) / 2**6)  # by hand: P(X <= 1) of 6 tosses, twice
    assert exact_p(0, 0) == 1


def test_discordant_pairs_are_counted_from_predictions() -> None:
    label = np.array([0, 0, 1, 1, 2, 2, 2])
    ours = np.array([0, 0, 1, 0, 2, 1, 2])
    theirs = np.array([1, 0, 0, 1, 0, 0, 2])  # where both are wrong, it does not matter how
    assert mcnemar(ours, theirs, label) == McNemar(3, 1, exact_p(3, 1))
    assert mcnemar(ours, ours, label) == McNemar(0, 0, 1.0)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.03], 0.03),
        ([0.03, 0.2], 0.2),
        ([0.9, 0.01, 0.02], 0.03),
        ([0.5, 0.4, 0.03, 0.02, 0.01], 0.05),
        ([1.0] * 3, 1),
    ],
)
def test_one_p_value_of_a_majority_of_seeds(p_values: list[float], expected: float) -> None:
    assert majority_p(p_values) == pytest.approx(expected)


def test_no_p_values_are_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        majority_p([])


def test_holm_is_the_step_down_of_bonferroni() -> None:
    # By hand: 0.01 * 4, 0.02 * 3, max(0.06, 0.03 * 2), max(0.06, 0.04 * 1), as in Holm 1979.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_equal_methods_are_rejected_at_most_as_often_as_the_level(seeds: int) -> None:
    # Both methods are right on 81 % of the examples; what a method finds hard is nearly the same in all its seeds.
    generator, rejected, pooled = np.random.default_rng(seeds), 0, 0
    for _ in range(1000):
        hard = generator.normal(size=(2, 1, 150))
        right = hard + 0.3 * generator.normal(size=(2, seeds, 150)) > -0.88
        tests = [mcnemar(right[0, s], right[1, s], np.ones(150)) for s in range(seeds)]
        rejected += majority_p([test.p for test in tests]) <= 0.05
        pooled += exact_p(sum(test.only_ours for test in tests), sum(test.only_theirs for test in tests)) <= 0.05
    assert rejected / 1000 <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5
    if seeds > 1:
        assert pooled / 1000 > 0.08, "adding up the counts of seeds would be a wrong test, which this one replaces"
