"""Which seed a cell's scores depend on, as a table."""

from __future__ import annotations

from typing import NamedTuple

from analysis.cells import Row, Section
from analysis.tables import Heading, Table, older_note, without_score
from analysis.variance import Component, Decomposition, decompose
from schema.key import Key

_NOTE = (
    "Standard deviation of the score x 100 that one seed brings while all others stand (square root of its variance "
    "component, an analysis of variance within the runs that differ in this seed alone), with its 95 % interval, its "
    "number of levels, and its share of the components' sum; what two seeds do jointly is in both of their components."
)


class Cell(NamedTuple):
    """A cell and its decomposition."""

    section: Section
    row: Row
    column: Key
    found: Decomposition


def decomposed(section: Section) -> list[Cell]:
    """The decompositions of the cells with two scored runs or more."""
    return [
        Cell(section, row, column, decompose(runs))
        for row, column, runs in section.grid()
        if sum(run.state == "ok" for run in runs) > 1
    ]


def variance_table(cell: Cell) -> Table:
    """The standard deviation that each seed brings to a cell's scores, or why the runs cannot tell it."""
    section, column = cell.section, cell.column
    title = f"{cell.row.title} on {column.task} ({column.source}, {column.subset}): {column.metric} by seed, "
    title += f"backbone {section.backbone}, protocol {section.protocol}, track {section.track}"
    rows = tuple(
        (component.source, *_texts(component))
        if component.reason is None
        else (component.source, component.reason, "", "")
        for component in cell.found.components
    )
    names = ("seed", "standard deviation", "share", "levels")
    notes = [_NOTE]
    if cell.found.together is not None:
        n = len(cell.found.together_runs)
        notes.append(f"All varied seeds together: standard deviation {100 * cell.found.together**0.5:.2f} (n={n}).")
    notes += [*older_note([cell.row]), *without_score([(cell.row, column, section.cells[cell.row, column])])]
    return Table(title, tuple(Heading((name,)) for name in names), rows, tuple(notes))


def _texts(component: Component) -> tuple[str, str, str]:
    value, low, high = (100 * (part or 0.0) ** 0.5 for part in (component.variance, component.low, component.high))
    spread = f"{value:.2f} [{low:.2f}, {high:.2f}]"
    share = "undefined" if component.share is None else f"{100 * component.share:.0f} %"
    return spread, share, f"{component.levels}"
