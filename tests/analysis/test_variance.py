from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.formula.api import mixedlm

from analysis.records import Run, read_run
from analysis.variance import SOURCES, Component, Decomposition, decompose
from tests.analysis.conftest import record, write

Maker = Callable[..., Run]


@pytest.fixture
def run(runs: Path) -> Maker:
    """Make a run with given scores and seeds; those not named are 0."""
    first = read_run(write(runs, record()))

    def make(score: float | None, outcome: str = "ok", **seeds: int) -> Run:
        own = dict.fromkeys(SOURCES, 0) | seeds
        return replace(first, id="-".join(map(str, own.values())), score=score, outcome=outcome, seeds=own)

    return make


def component(found: Decomposition, source: str) -> Component:
    return next(part for part in found.components if part.source == source)


def one_at_a_time(run: Maker, base: float, **scores: Iterable[float]) -> list[Run]:
    """A base run, and one for every further score of every source."""
    further = [run(s, **{source: 1 + i}) for source, own in scores.items() for i, s in enumerate(own)]
    return [run(base), *further]


def test_one_factor_at_a_time_gives_the_sample_variance_of_each(run: Maker) -> None:
    found = decompose(one_at_a_time(run, 0.8, partition=[0.82, 0.81], data=[0.7, 0.9, 0.75]))
    partition, data = component(found, "partition"), component(found, "data")
    assert partition.variance == pytest.approx(np.var([0.8, 0.82, 0.81], ddof=1))
    assert data.variance == pytest.approx(np.var([0.8, 0.7, 0.9, 0.75], ddof=1))
    assert (partition.levels, partition.freedom, data.levels, len(data.runs)) == (3, 2, 4, 4)
    assert partition.share is not None
    assert data.share is not None
    assert partition.share + data.share == pytest.approx(1)
    assert component(found, "head").reason == "never varied (6 scored runs)"


def test_the_interval_is_that_of_a_variance(run: Maker) -> None:
    scores = [0.8, 0.82, 0.79, 0.85]
    found = component(decompose(one_at_a_time(run, scores[0], head=scores[1:])), "head")
    squares = 3 * np.var(scores, ddof=1)
    assert (found.low, found.high) == pytest.approx(
        (squares / stats.chi2.ppf(0.975, 3), squares / stats.chi2.ppf(0.025, 3))
    )


def test_seeds_that_all_move_together_identify_nothing_and_say_so(run: Maker) -> None:
    found = decompose([run(0.8 + 0.01 * s, **dict.fromkeys(SOURCES, s)) for s in range(5)])
    assert not found.identified
    assert component(found, "head").reason == "moves together with partition, init, data, split"
    assert found.together == pytest.approx(np.var([0.80, 0.81, 0.82, 0.83, 0.84], ddof=1))
    assert len(found.together_runs) == 5


def test_two_seeds_that_move_together_are_named(run: Maker) -> None:
    found = decompose([run(0.8), run(0.9, head=1, data=1), run(0.7, split=1)])
    assert component(found, "head").reason == "moves together with data"
    assert component(found, "split").variance == pytest.approx(0.005)


def test_a_seed_that_never_moves_alone_nor_with_one_other_is_told(run: Maker) -> None:
    found = decompose([run(0.8), run(0.9, head=1, data=1), run(0.7, head=2, split=1)])
    assert component(found, "head").reason == "no two runs differ in it alone"


def test_runs_without_a_score_do_not_count(run: Maker) -> None:
    found = decompose([run(0.8), run(0.9, head=1), run(0.1, head=2, outcome="diverged"), run(None, head=3)])
    assert component(found, "head").variance == pytest.approx(0.005)


def test_equal_scores_have_no_share(run: Maker) -> None:
    found = component(decompose([run(0.8), run(0.8, head=1)]), "head")
    assert (found.variance, found.share) == (0, None)


def test_components_of_nested_groups_are_those_of_statsmodels_random_effects(run: Maker) -> None:
    # Balanced one-way random effects: 12 heads, with 4 data seeds of their own each. The mixed model's residual
    # variance is the mean square within groups.
    generator = np.random.default_rng(0)
    effects = generator.normal(0, 0.03, 12)
    made = [
        run(0.8 + effects[h] + generator.normal(0, 0.02), head=h, data=100 * h + k)
        for h, k in product(range(12), range(4))
    ]
    found = component(decompose(made), "data")
    frame = {"score": [100 * r.score for r in made], "head": [r.seeds["head"] for r in made]}
    model = mixedlm("score ~ 1", frame, groups="head").fit(reml=True)
    assert found.variance == pytest.approx(model.scale / 100**2, rel=1e-4)
    assert found.freedom == 12 * 3
    assert component(decompose(made), "head").reason == "moves together with data"


def test_a_crossed_design_gives_main_effect_and_interaction_by_hand(run: Maker) -> None:
    table = np.array([[0.80, 0.84, 0.79], [0.70, 0.75, 0.72]])  # heads by data seeds
    found = decompose([run(table[h, k], head=h, data=k) for h, k in product(range(2), range(3))])
    assert component(found, "head").variance == pytest.approx(table.var(0, ddof=1).mean())
    assert component(found, "data").variance == pytest.approx(table.var(1, ddof=1).mean())
    assert (component(found, "head").freedom, component(found, "data").freedom) == (1, 2)


@pytest.mark.slow
def test_components_are_unbiased_and_their_intervals_hold_their_level(run: Maker) -> None:
    generator, truth = np.random.default_rng(0), {"partition": 0.02, "head": 0.01, "data": 0.005}
    made, held = [], dict.fromkeys(truth, 0)
    for _ in range(1500):
        effect = {source: generator.normal(0, std, 5) for source, std in truth.items()}
        base = 0.8 + sum(own[0] for own in effect.values())
        found = decompose(one_at_a_time(run, base, **{s: base - own[0] + own[1:] for s, own in effect.items()}))
        made.append([component(found, source).variance for source in truth])
        for source, std in truth.items():
            part = component(found, source)
            assert part.low is not None
            assert part.high is not None
            held[source] += part.low <= std**2 <= part.high
    assert np.mean(made, axis=0) == pytest.approx([std**2 for std in truth.values()], rel=0.07)
    assert [count / 1500 for count in held.values()] == pytest.approx([0.95] * 3, abs=3 * (0.05 * 0.95 / 1500) ** 0.5)
