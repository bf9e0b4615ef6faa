"""Tables as the page shows them: a number, its interval and where both stand on the column's scale."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from analysis.cells import Row, Section
from analysis.differences import Difference
from analysis.estimates import estimate
from analysis.records import Run
from analysis.statistics import Interval
from analysis.tables import MISSING, Table, difference_table, score_table, summary
from schema.key import Key


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
        details: its interval, and n with what the interval is over.
        sort: what it sorts by; None for a missing value.
        ends: the number and the ends of its interval; nothing for a missing value.
        runs: ids of its runs; none for a missing cell.
        task: the task of its column.
        numbers: what the drill-down says of the cell, by name.
        clear: whether the interval of a difference excludes 0.
        whisker: how the number is drawn, if it is.
    """

    text: str
    details: tuple[str, ...]
    sort: float | None
    ends: tuple[float, ...]
    runs: tuple[str, ...]
    task: str
    numbers: tuple[tuple[str, str], ...]
    clear: bool = False
    whisker: Whisker | None = None


@dataclass(frozen=True)
class Line:
    """A row: its method, label and mark, its sizes as text and number, and its cells."""

    method: str
    label: str
    mark: str
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
    """Scores of a section: mean, spread and interval."""
    table = score_table(section)
    cells = {
        (row, column): _score_cell(section.cells.get((row, column), ()), column)
        for row in section.rows
        for column in section.columns
    }
    return Grid("Scores", _headings(section, table), _lines(section, cells, zero=False), table.notes)


def difference_grid(section: Section, baseline: Row, found: Sequence[Difference]) -> Grid:
    """Paired differences of a section to its baseline, each with the interval that a claim may go by."""
    table = difference_table(section, baseline, found)
    cells = {(entry.row, entry.column): _difference_cell(entry, section) for entry in found}
    title = f"Differences to {baseline.label}"
    return Grid(title, _headings(section, table), _lines(section, cells, zero=True), table.notes)


def _lines(section: Section, cells: Mapping[tuple[Row, Key], Cell], zero: bool) -> tuple[Line, ...]:
    """A line for every row that has cells; `zero`: 0 belongs to the scales, and sizes are given elsewhere."""
    rows = [row for row in section.rows if (row, section.columns[0]) in cells]
    drawn = [_drawn([cells[row, column] for row in rows], zero) for column in section.columns]
    sizes = () if zero else ("theta", "head")
    return tuple(
        Line(row.method, row.label, row.mark, tuple(_size(section, row, name) for name in sizes), tuple(own))
        for row, own in zip(rows, zip(*drawn, strict=True), strict=True)
    )


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


def _ids(runs: Sequence[Run]) -> tuple[str, ...]:
    return tuple(run.id for run in sorted(runs, key=lambda run: (sorted(run.seeds.items()), run.id)))


def _score_cell(runs: Sequence[Run], column: Key) -> Cell:
    states = Counter(run.state for run in runs)
    others = tuple(f"{states[state]} {state}" for state in sorted(states) if state != "ok")
    ids = _ids(runs)
    scored = [run for run in runs if run.state == "ok"]
    found = summary(scored)
    if found is None:
        text = ", ".join(others) or MISSING
        return Cell(text, (), None, (), ids, column.task, (("Score", text),))
    text = f"{found.mean:.2f}" + (f" ± {found.std:.2f}" if found.std is not None else "")
    n, mean, low, high, basis = estimate(scored)
    details: tuple[str, ...] = ("; ".join((f"n={n}", *others)),)
    ends = (mean, mean, mean)
    if low is not None and high is not None:
        details = (f"[{low:.2f}, {high:.2f}]", "; ".join((f"n={n}, over {basis}", *others)))
        ends = (mean, low, high)
    return Cell(text, details, mean, ends, ids, column.task, (("Score", " ".join((text, *details))),))


def _difference_cell(entry: Difference, section: Section) -> Cell:
    ids, task = _ids(section.cells.get((entry.row, entry.column), ())), entry.column.task
    numbers = _difference_numbers(entry)
    if entry.claim is None or not _is_finite(entry.claim[1]):
        why = "no score" if ids and entry.reason == MISSING else entry.reason or "undefined"
        return Cell(why.split(":")[0], (), None, (), ids, task, (*numbers, ("Difference", why)))
    basis, interval = entry.claim
    text, brackets = _difference_texts(interval)
    ends = tuple(100 * value for value in interval)
    clear = interval.low > 0 or interval.high < 0
    return Cell(text, (brackets, f"n={len(entry.pairs)}, over {basis}"), ends[0], ends, ids, task, numbers, clear)


def _difference_numbers(entry: Difference) -> tuple[tuple[str, str], ...]:
    """All intervals of a difference, and its test."""
    intervals = {"seeds and examples": entry.two_level, "examples": entry.interval, "seeds": entry.over_seeds}
    numbers = [
        (f"Difference, interval over {name}", " ".join(_difference_texts(interval)))
        for name, interval in intervals.items()
        if interval is not None and _is_finite(interval)
    ]
    if entry.p is not None and entry.holm_p is not None:
        numbers.append(("p, McNemar", f"{entry.p:.2g}"))
        numbers.append(("p, corrected over the column's rows (Holm)", f"{entry.holm_p:.2g}"))
    return tuple(numbers)


def _difference_texts(interval: Interval) -> tuple[str, str]:
    difference, low, high = (100 * value for value in interval)
    return f"{difference:+.2f}", f"[{low:+.2f}, {high:+.2f}]"


def _is_finite(interval: Interval) -> bool:
    return all(map(math.isfinite, interval))


def _drawn(cells: Sequence[Cell], zero: bool) -> list[Cell]:
    """The cells of a column with their whiskers, all on one scale."""
    ends = [value for cell in cells for value in cell.ends] + [0.0] * zero
    scale = (min(ends), max(ends)) if ends else (0.0, 0.0)
    return [replace(cell, whisker=_whisker(cell.ends, scale)) if cell.ends else cell for cell in cells]


def _whisker(ends: tuple[float, ...], scale: tuple[float, float]) -> Whisker | None:
    """Positions on a scale with a margin of 5 %; None on a scale of no width."""
    start, end = scale
    if end <= start:
        return None

    def position(value: float) -> float:
        return round(5 + 90 * (value - start) / (end - start), 1)

    at, low, high = map(position, ends)
    return Whisker(low, at, high, position(0) if start <= 0 <= end else None)
