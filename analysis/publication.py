"""A section's scores as a paper prints them: best cells marked, an average, and published numbers beside our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.aggregates import pools
from analysis.cells import Row, Section
from analysis.marks import marks
from analysis.published import AVERAGE, Published, beside, fits, is_full
from analysis.tables import MISSING, Heading, Table, score_table, summary
from schema.key import Key

DAGGER = "†"
_FIXED = 3
"""Cells of a row before those of its columns: the method and its sizes."""
_MARKS_NOTE = (
    "Bold: best of the column; underlined: second. Only where the 95 % interval of the paired difference to the next "
    "row is above 0, over {grounds}; a column without a mark has no best row that the runs tell from the next."
)
_NO_MARKS_NOTE = (
    "No cell is marked as best: in no column is the interval of the paired difference to the second row above 0."
)
_AVERAGE_NOTE = "Average: mean over the tasks of their {statistic}s, where no cell is missing."
_PUBLISHED_NOTE = (
    f"{DAGGER}: published, not run here; ± as the source has it. {{rows}} Certainty: V seen verbatim, 2 second-hand, "
    "I inferred. That the metric is the column's is inferred for GLUE."
)


def publication_table(section: Section, statistic: str = "mean") -> Table:
    """The section's score table with all that it may carry.

    Marks belong to means, since the intervals do; with `statistic="median"` nothing is marked.
    """
    table = score_table(section, statistic)
    averages = _averages(section, statistic)
    if averages is not None:
        heading = Heading(("average", f"{len(section.columns)} tasks"))
        rows = tuple((*row, average) for row, average in zip(table.rows, averages, strict=True))
        notes = (*table.notes, _AVERAGE_NOTE.format(statistic=statistic))
        table = replace(table, headings=(*table.headings, heading), rows=rows, notes=notes)
    if statistic == "mean":
        table = _marked(table, section)
    return _with_published(table, section, averages is not None)


def _averages(section: Section, statistic: str) -> list[str] | None:
    """The average of every row; None where the columns may not be averaged, or no row has them all."""
    if [pool.columns for pool in pools(section) if pool.reason is None] != [section.columns]:
        return None
    texts = [_average(section, row, statistic) for row in section.rows]
    return texts if set(texts) != {MISSING} else None


def _average(section: Section, row: Row, statistic: str) -> str:
    found = [summary(section.cells.get((row, column), ())) for column in section.columns]
    known = [getattr(cell, statistic) for cell in found if cell is not None]
    return f"{sum(known) / len(known):.2f} ({len(known)} tasks)" if len(known) == len(found) else MISSING


def _marked(table: Table, section: Section) -> Table:
    found, grounds = marks(section)
    if not found:
        return replace(table, notes=(*table.notes, _NO_MARKS_NOTE)) if len(section.rows) > 1 else table
    rows, columns = list(section.rows), list(section.columns)
    places = {(rows.index(row), _FIXED + columns.index(column)): mark for (row, column), mark in found.items()}
    note = _MARKS_NOTE.format(grounds=" or ".join(sorted(grounds)))
    return replace(table, marks=places, notes=(*table.notes, note))


def _with_published(table: Table, section: Section, has_average: bool) -> Table:
    found = beside(section)
    if not found:
        return table
    rows = [_published_row(numbers, section.columns, has_average) for numbers in found]
    origins: dict[str, list[str]] = {}
    for numbers in found:
        origins.setdefault(_origin(numbers[0]), []).append(_named(numbers[0]))
    note = _PUBLISHED_NOTE.format(rows=" ".join(f"{', '.join(names)}: {text}" for text, names in origins.items()))
    return replace(table, rows=(*table.rows, *rows), notes=(*table.notes, note))


def _published_row(numbers: Sequence[Published], columns: Sequence[Key], has_average: bool) -> tuple[str, ...]:
    cells = [
        _published_cell([entry for entry in numbers if fits(entry, column)]) if is_full(column) else "not comparable"
        for column in columns
    ]
    average = [_published_cell([entry for entry in numbers if entry.task == AVERAGE])] if has_average else []
    first = numbers[0]
    size = MISSING if first.parameters is None else f"{first.parameters:,}"
    return (f"{first.label} {DAGGER}", size, MISSING, *cells, *average)


def _published_cell(numbers: Sequence[Published]) -> str:
    if not numbers or numbers[0].text is None:
        return MISSING
    entry = numbers[0]
    known = "; ".join(filter(None, [entry.statistic, f"n={entry.n}" if entry.n else "n missing"]))
    return f"{entry.text} ({known})"


def _named(entry: Published) -> str:
    return entry.label if entry.parameters is None else f"{entry.label} ({entry.parameters:,})"


def _origin(entry: Published) -> str:
    note = f"; {entry.note}" if entry.note else ""
    return f"{', '.join(entry.source)} [{entry.certainty}]{note}."
