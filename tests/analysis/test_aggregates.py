from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from analysis.aggregates import (
    THRESHOLDS,
    Pool,
    aggregate,
    aggregate_improvement,
    improvement,
    interquartile_mean,
    mean,
    performance_profile,
    pools,
)
from analysis.cells import sections
from analysis.records import read_runs
from analysis.statistics import DRAWS, SEED
from tests.analysis.conftest import record, write


def pooled(folder: Path, *records: dict[str, Any]) -> list[Pool]:
    for content in records:
        write(folder, content)
    (section,) = sections(read_runs(folder).kept)
    return pools(section)


def scores(seed: int, tasks: int, seeds: int) -> NDArray:
    return np.random.default_rng(seed).normal(0.8, 0.1, (tasks, seeds)).clip(0, 1)


def test_the_interquartile_mean_is_the_mean_of_the_middle_half() -> None:
    assert interquartile_mean(np.array([[0.0, 0.2, 0.4, 0.6], [0.1, 0.3, 0.5, 9.0]])) == pytest.approx(0.35)
    found = interquartile_mean(scores(0, 6, 5))
    assert found == pytest.approx(stats.trim_mean(scores(0, 6, 5), 0.25, axis=None))
    draws = np.stack([scores(0, 6, 5), scores(1, 6, 5)])
    assert interquartile_mean(draws) == pytest.approx([interquartile_mean(own) for own in draws])


def test_the_probability_of_improvement_is_mann_whitneys_statistic_by_task() -> None:
    ours, theirs = np.round(scores(0, 4, 5), 1), np.round(scores(1, 4, 3), 1)  # with ties
    expected = [stats.mannwhitneyu(a, b).statistic / 15 for a, b in zip(ours, theirs, strict=True)]
    assert improvement(ours, theirs) == pytest.approx(np.mean(expected))
    assert improvement(ours, ours) == pytest.approx(0.5)
    assert improvement(ours + 1, theirs) == 1


def test_a_profile_is_the_share_of_runs_above_each_threshold() -> None:
    own = np.array([[0.25, 0.5], [0.75, 0.905]])
    found = performance_profile(own)
    share = dict(zip(np.round(THRESHOLDS, 2), found.share, strict=True))
    assert [share[at] for at in (0.0, 0.25, 0.26, 0.5, 0.9, 0.91)] == [1, 0.75, 0.75, 0.5, 0.25, 0]
    assert found.low is not None
    assert found.high is not None
    assert ((found.low <= found.share) & (found.share <= found.high)).all()
    assert np.trapezoid(found.share, THRESHOLDS) == pytest.approx(own.mean(), abs=0.005)  # its area is the mean


def test_one_seed_per_task_has_no_interval() -> None:
    found = aggregate(interquartile_mean, scores(0, 4, 1))
    assert (found.low, found.high) == (None, None)
    assert performance_profile(scores(0, 4, 1)).low is None


def test_draws_are_fixed_and_keep_to_their_task() -> None:
    apart = np.array([[0.1, 0.1, 0.1], [0.9, 0.9, 0.9]])  # nothing varies within a task, so neither do the draws
    assert aggregate(mean, apart) == pytest.approx((0.5, 0.5, 0.5))
    assert aggregate(interquartile_mean, scores(0, 4, 5)) == aggregate(interquartile_mean, scores(0, 4, 5))


def test_rows_without_a_cell_or_a_seed_have_a_reason(runs: Path) -> None:
    complete = [record("lora", seed, task) for seed in range(2) for task in ("glue/sst2", "glue/rte")]
    uneven = [record("full", 0), record("full", 0, "glue/rte"), record("full", 1, "glue/rte")]
    (pool,) = pooled(runs, *complete, *uneven, record("head"), record("head", 0, "glue/rte", outcome="diverged"))
    assert pool.reason is None
    assert {row.label: reason for row, reason in pool.reasons.items()} == {
        "full": "1 to 2 scored runs per task; the same number is needed",
        "head": "missing: glue/rte",
    }
    assert [row.label for row in pool.runs] == ["lora, r=8"]
    assert pool.scores(next(iter(pool.runs))).shape == (2, 2)


def test_generated_tasks_are_never_aggregated_with_real_ones_nor_one_task_with_itself(runs: Path) -> None:
    generated = [record(task=f"embedded/glue/{name}", source="embedded") for name in ("sst2", "rte")]
    real = [record(), record(subset="4000-of-67349"), record(task="glue/rte")]
    first, second = pooled(runs, *generated, *real)
    assert str(first.reason).startswith("glue/sst2: more than one column")
    assert {column.task for column in second.columns} == {"embedded/glue/sst2", "embedded/glue/rte"}


def test_draws_of_an_improvement_and_of_a_profile_are_those_of_resampled_runs() -> None:
    ours, theirs = np.round(scores(0, 4, 5), 1), np.round(scores(1, 4, 3), 1)  # with ties
    generator = np.random.default_rng(SEED)
    first, second = (
        np.take_along_axis(own[None], generator.integers(own.shape[1], size=(DRAWS, *own.shape)), axis=2)
        for own in (ours, theirs)
    )
    expected = np.quantile(improvement(first, second), [0.025, 0.975])
    assert aggregate_improvement(ours, theirs) == pytest.approx((improvement(ours, theirs), *expected))
    assert aggregate_improvement(ours, theirs[:, :1]).low is None
    found = performance_profile(ours)
    shares = [(first > threshold).mean((1, 2)) for threshold in THRESHOLDS]
    assert found.low == pytest.approx(np.quantile(shares, 0.025, axis=1))
    assert found.high == pytest.approx(np.quantile(shares, 0.975, axis=1))


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "least", "most"), [(3, 0.80, 0.92), (5, 0.85, 0.95), (10, 0.90, 0.97)])
def test_the_interval_of_the_interquartile_mean_holds_about_what_is_documented(
    monkeypatch: pytest.MonkeyPatch, seeds: int, least: float, most: float
) -> None:
    monkeypatch.setattr("analysis.aggregates.DRAWS", 1000)
    centres = np.array([0.55, 0.62, 0.68, 0.74, 0.79, 0.84, 0.88, 0.91])[:, None]
    generator = np.random.default_rng(0)

    def drawn(n: int) -> NDArray:
        return centres + generator.normal(0, 0.03, (8, n))

    truth = float(interquartile_mean(drawn(200_000)))
    held = 0
    for _ in range(1500):
        found = aggregate(interquartile_mean, drawn(seeds))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    assert least <= held / 1500 <= most
