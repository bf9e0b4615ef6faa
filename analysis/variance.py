"""Which seed a score depends on: variance by source, from runs that differ in one seed alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtri

from analysis.records import Run, Value
from analysis.statistics import LEVEL

SOURCES = ("partition", "init", "head", "data", "split")


@dataclass(frozen=True)
class Component:
    """The variance of scores that one seed brings, or the reason why the runs cannot tell.

    Attributes:
        source: the seed.
        levels: how many of its values the estimate rests on.
        freedom: degrees of freedom.
        variance: of scores as fractions; None where not identified.
        low: lower end of its 95 % interval.
        high: upper end.
        share: of the sum over identified sources; None where that is 0 or the source is not identified.
        reason: why there is no estimate.
        runs: ids of the runs behind it.
    """

    source: str
    levels: int
    freedom: int
    variance: float | None
    low: float | None
    high: float | None
    share: float | None
    reason: str | None
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Decomposition:
    """The components of one cell's runs, and the variance where all seeds move together.

    Attributes:
        components: one per source.
        together: sample variance of runs of which any two differ in every seed that varies; None for fewer than two.
        together_runs: ids of those runs.
    """

    components: tuple[Component, ...]
    together: float | None
    together_runs: tuple[str, ...]

    @property
    def identified(self) -> bool:
        """Whether the runs identify any component."""
        return any(component.variance is not None for component in self.components)


def decompose(runs: Iterable[Run]) -> Decomposition:
    """Variance by source of runs with the same settings.

    The estimator is a method of moments (one-way analysis of variance): runs that share every other seed form a
    group, and the component is the sample variance within groups, pooled by degrees of freedom. It estimates the mean
    of Var(score | all other seeds), the total effect of Sobol' (Homma and Saltelli 1996; Jansen 1999): an
    interaction of two seeds is in both of their components, so that shares are of the components' sum, not of the
    variance of a score. Training is deterministic here, so there is no residual beside them. The design may be one
    factor at a time, crossed or nested.

    The interval is that of a variance of normal effects, with as many degrees of freedom as independent contrasts of
    levels (groups with the same levels count once): exact for one factor at a time, wide for a crossed design.
    """
    scored = [run for run in runs if run.state == "ok" and run.score is not None]
    found = [_component(source, scored) for source in SOURCES]
    total = sum(component.variance or 0.0 for component in found)
    components = tuple(_with_share(component, total) for component in found)
    together = _together(scored)
    spread = float(np.var(_scores(together), ddof=1)) if len(together) > 1 else None
    return Decomposition(components, spread, tuple(run.id for run in together) if spread is not None else ())


def _component(source: str, runs: Sequence[Run]) -> Component:
    groups: dict[tuple[Value, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[tuple(run.seeds.get(name) for name in SOURCES if name != source)].append(run)
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return Component(source, 0, 0, None, None, None, None, _reason(source, runs), ())
    squares = sum(float(np.var(_scores(group)) * len(group)) for group in several)
    variance = squares / sum(len(group) - 1 for group in several)
    levels = [[run.seeds.get(source) for run in group] for group in several]
    freedom = _contrasts(levels)
    low, high = (freedom * variance / float(chdtri(freedom, tail)) for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    ids = tuple(sorted(run.id for group in several for run in group))
    distinct = len({level for group in levels for level in group})
    return Component(source, distinct, freedom, variance, low, high, None, None, ids)


def _scores(runs: Iterable[Run]) -> list[float]:
    return [run.score for run in runs if run.score is not None]


def _contrasts(groups: Sequence[Sequence[Value]]) -> int:
    """Independent contrasts between levels that occur in one group: levels, less the sets that groups link."""
    sets: list[set[Value]] = []
    for group in groups:
        linked = [own for own in sets if own.intersection(group)]
        sets = [own for own in sets if own not in linked] + [set(group).union(*linked)]
    return sum(len(own) - 1 for own in sets)


def _reason(source: str, runs: Sequence[Run]) -> str:
    if len({run.seeds.get(source) for run in runs}) < 2:
        return f"never varied ({len(runs)} scored runs)"
    always = [name for name in SOURCES if name != source and _decides(name, source, runs)]
    return f"moves together with {', '.join(always)}" if always else "no two runs differ in it alone"


def _decides(name: str, source: str, runs: Sequence[Run]) -> bool:
    """Whether runs that share the seed `name` share the seed `source`, so that `source` never varies without it."""
    pairs = {(run.seeds.get(name), run.seeds.get(source)) for run in runs}
    return len(pairs) == len({value for value, _ in pairs})


def _with_share(component: Component, total: float) -> Component:
    if component.variance is None or not total:
        return component
    return replace(component, share=component.variance / total)


def _together(runs: Sequence[Run]) -> list[Run]:
    """Runs of which any two differ in every seed that varies at all, those with one value for all seeds first."""
    varied = [name for name in SOURCES if len({run.seeds.get(name) for run in runs}) > 1]

    def order(run: Run) -> tuple[int, list[str], str]:
        values = [str(run.seeds.get(name)) for name in SOURCES]
        return len(set(values)), values, run.id

    chosen: list[Run] = []
    taken: set[tuple[str, Value]] = set()
    for run in sorted(runs, key=order):
        own = {(name, run.seeds.get(name)) for name in varied}
        if own and taken.isdisjoint(own):
            chosen.append(run)
            taken |= own
    return chosen
