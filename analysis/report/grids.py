"""Tables as the page shows them: a number, its interval and where both stand on the column's scale."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from analysis.cells import Row, Section
from analysis.differences import Difference
from analysis.records import Column, Run
from analysis.tables import MISSING, Table, difference_table, score_table, summary


class Whisker(NamedTuple):
    """An estimate, its interval and zero (None: off the scale), in per cent of the width of their column's scale."""

    low: float
    at: float
    high: float
    zero: float | None


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: the number, or why there is none.
        detail: its interval and n, or nothing.
        sort: what it sorts by; None for a missing value.
        whisker: how the number is drawn, if it is.
        runs: ids of its runs; none for a missing cell.
        task: the task of its column.
        clear: whether the interval of a difference excludes 0.
    """

    text: str
    detail: str
    sort: float | None
    whisker: Whisker | None
    runs: tuple[str, ...]
    task: str
    clear: bool = False


@dataclass(frozen=True)
class Line:
    """A row: its method and label, its sizes as text and number, and its cells."""

    method: str
    label: str
    sizes: tuple[tuple[str, int | None], ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Heading:
    """The heading of a column: its task, the rest of its key, and the numbers of its footnotes."""

    task: str
    lines: tuple[str, ...]
    marks: str


@dataclass(frozen=True)
class Grid:
    """A table of the page."""

    title: str
    headings: tuple[Heading, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def score_grid(section: Section) -> Grid:
    """Scores of a section: mean, spread and t interval over seeds."""
    table = score_table(section)
    scales = {column: _scale(_score_values(section.runs(column=column))) for column in section.columns}
    lines = tuple(
        Line(
            row.method,
            row.label,
            tuple(_size(section, row, name) for name in ("theta", "head")),
            tuple(
                _score_cell(section.cells.get((row, column), ()), column, scales[column]) for column in section.columns
            ),
        )
        for row in section.rows
    )
    return Grid("Scores", _headings(section, table), lines, table.notes)


def difference_grid(section: Section, baseline: Row, found: Sequence[Difference]) -> Grid:
    """Paired differences of a section to its baseline: mean over seeds and bootstrap interval over examples."""
    table = difference_table(section, baseline, found)
    entries = {(entry.row, entry.column): entry for entry in found}
    scales = {
        column: _scale([0.0, *(x for entry in found if entry.column == column for x in _finite(entry))])
        for column in section.columns
    }
    lines = tuple(
        Line(
            row.method,
            row.label,
            (),
            tuple(_difference_cell(entries[row, column], section, scales[column]) for column in section.columns),
        )
        for row in section.rows
        if row != baseline
    )
    return Grid(f"Differences to {baseline.label}", _headings(section, table), lines, table.notes)


def _headings(section: Section, table: Table) -> tuple[Heading, ...]:
    marks = {heading.lines: heading.marks for heading in table.headings}
    return tuple(
        Heading(
            column.task,
            (column.metric, column.source, column.subset),
            marks.get((column.task, column.metric, column.source, column.subset), ""),
        )
        for column in section.columns
    )


def _size(section: Section, row: Row, name: str) -> tuple[str, int | None]:
    """A count of parameters; the least and the most where the row's columns differ, sorted by the most."""
    known = sorted({getattr(run, name) for run in section.runs(row=row)} - {None})
    if not known:
        return MISSING, None
    return " to ".join(f"{count:,}" for count in dict.fromkeys((known[0], known[-1]))), known[-1]


def _score_values(runs: Iterable[Run]) -> list[float]:
    return [100 * run.score for run in runs if run.score is not None]


def _score_cell(runs: Sequence[Run], column: Column, scale: tuple[float, float]) -> Cell:
    states = Counter(run.state for run in runs)
    others = [f"{states[state]} {state}" for state in sorted(states) if state != "ok"]
    ids = tuple(run.id for run in runs)
    found = summary(runs)
    if found is None:
        return Cell(", ".join(others) or MISSING, "", None, None, ids, column.task)
    spread = f" ± {found.std:.2f}" if found.std is not None else ""
    interval = "" if found.low is None else f"[{found.low:.2f}, {found.high:.2f}] "
    low, high = (found.mean if end is None else end for end in (found.low, found.high))
    detail = "; ".join([f"{interval}n={found.n}", *others])
    whisker = _whisker(low, found.mean, high, scale)
    return Cell(f"{found.mean:.2f}{spread}", detail, found.mean, whisker, ids, column.task)


def _difference_cell(entry: Difference, section: Section, scale: tuple[float, float]) -> Cell:
    ids = tuple(run.id for run in section.cells.get((entry.row, entry.column), ()))
    task, values = entry.column.task, _finite(entry)
    if entry.interval is None or not values:
        reason = (entry.reason or "undefined").split(":")[0]
        return Cell(reason, "", None, None, ids, task)
    difference, low, high = values
    whisker = _whisker(low, difference, high, scale)
    detail = f"[{low:+.2f}, {high:+.2f}] n={len(entry.pairs)}"
    return Cell(f"{difference:+.2f}", detail, difference, whisker, ids, task, clear=low > 0 or high < 0)


def _finite(entry: Difference) -> list[float]:
    """Difference and interval x 100; nothing where there is none or the metric is undefined in some draw."""
    if entry.interval is None:
        return []
    found = [100 * value for value in (entry.interval.difference, entry.interval.low, entry.interval.high)]
    return found if all(map(math.isfinite, found)) else []


def _scale(values: Sequence[float]) -> tuple[float, float]:
    return (min(values), max(values)) if values else (0.0, 0.0)


def _whisker(low: float, at: float, high: float, scale: tuple[float, float]) -> Whisker | None:
    """Positions on a scale with a margin of 5 %; ends of an interval beyond it are cut."""
    start, end = scale
    if end <= start:
        return None

    def position(value: float) -> float:
        return round(5 + 90 * (min(max(value, start), end) - start) / (end - start), 1)

    return Whisker(position(low), position(at), position(high), position(0) if start <= 0 <= end else None)
