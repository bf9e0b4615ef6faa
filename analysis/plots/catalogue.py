"""All kinds of figures, and the figures that a set of runs gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from analysis.cells import Section, sections
from analysis.plots.curves import curves
from analysis.plots.figure import Figure, Group
from analysis.plots.isometry import jacobian, occupancy, ratios, theta
from analysis.plots.landscape import landscape
from analysis.plots.scores import capacity, cost, pareto
from analysis.plots.seeds import seeds
from analysis.plots.spectra import spectra
from analysis.plots.style import Styles
from analysis.records import Run


class Kind(NamedTuple):
    """How the figures of one kind are made of a group of runs, and which runs they need."""

    build: Callable[[Group], Iterator[Figure]]
    needs: str


_ISOMETRY = "runs made with diagnostics=isometry"
KINDS: Mapping[str, Kind] = {
    "pareto": Kind(pareto, "runs with a score and counted parameters, of a method that has some"),
    "capacity": Kind(capacity, "runs with a score at two or more values of d"),
    "curves": Kind(curves, "runs with a score and a history"),
    "seeds": Kind(seeds, "two or more runs with a score that differ in their seeds alone"),
    "cost": Kind(cost, "runs with a score and a measured time or memory"),
    "ratios": Kind(ratios, _ISOMETRY),
    "jacobian": Kind(jacobian, _ISOMETRY),
    "spectra": Kind(spectra, _ISOMETRY),
    "theta": Kind(theta, _ISOMETRY),
    "occupancy": Kind(occupancy, f"{_ISOMETRY} of a method that partitions weights"),
    "landscape": Kind(landscape, "runs made with diagnostics=landscape"),
}
"""By the names that `--kinds` takes."""


def figures(runs: Sequence[Run], kinds: Iterable[str] = tuple(KINDS)) -> list[Figure]:
    """All figures of the kinds that the runs give, by section, column and kind; trials of a search are left out.

    Each shows one column of one section, so that nothing stands together that tables keep apart.

    Raises:
        InputError: if a record changed since it was read.
        KeyError: if a kind is unknown.
    """
    wanted = tuple(kinds)
    return named(figure for group in groups(sections(runs)) for figure in built(group, wanted))


def groups(found: Sequence[Section]) -> Iterator[Group]:
    """The columns of all sections, which figures are made of."""
    styles = Styles(row.method for section in found for row in section.rows)
    return (Group(section, column, styles) for section in found for column in section.columns)


def built(group: Group, kinds: Iterable[str] = tuple(KINDS)) -> list[Figure]:
    """The figures of these kinds that a column gives; its records are read once and not kept.

    Raises:
        InputError: if a record changed since it was read.
        KeyError: if a kind is unknown.
    """
    found = [figure for kind in kinds for figure in KINDS[kind].build(group)]
    group.forget()
    return found


def named(found: Iterable[Figure]) -> list[Figure]:
    """Figures with a name of their own each, where keys differ in characters that no file name takes."""
    seen: Counter[str] = Counter()
    unique = []
    for figure in found:
        seen[figure.name] += 1
        number = seen[figure.name]
        unique.append(figure if number == 1 else replace(figure, name=f"{figure.name}--{number}"))
    return unique
