"""Tables to Markdown, CSV and JSON; the same tables always give the same bytes."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.cells import Section
from analysis.differences import Difference
from analysis.markdown import escaped
from analysis.marks import BEST, SECOND
from analysis.statistics import bootstrap_interval
from analysis.tables import Table, summary
from schema.key import Key

_KEY = tuple(Key.model_fields)
_MARKDOWN_MARKS = {BEST: ("**", "**"), SECOND: ("<u>", "</u>")}


def markdown(tables: Sequence[Table]) -> str:
    """GitHub-flavoured Markdown, aligned to be read as plain text too."""
    return "\n".join(_markdown_table(table) for table in tables)


def _markdown_table(table: Table) -> str:
    headings = [", ".join(heading.lines) + heading.marks for heading in table.headings]
    rows = [
        [marked(escaped(cell), table.marks.get((r, c)), _MARKDOWN_MARKS) for c, cell in enumerate(row)]
        for r, row in enumerate(table.rows)
    ]
    grid = [[escaped(heading) for heading in headings], *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*grid, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in grid]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    notes = (f"- {escaped(note)}" for note in table.notes)
    return "\n".join([f"## {escaped(table.title)}", "", *lines, "", *notes, ""])


def marked(cell: str, mark: str | None, signs: Mapping[str, tuple[str, str]]) -> str:
    """A cell whose number, its first word, carries its mark."""
    if mark is None:
        return cell
    number, space, rest = cell.partition(" ")
    before, after = signs[mark]
    return f"{before}{number}{after}{space}{rest}"


def scores_csv(sections: Iterable[Section]) -> str:
    """One line per cell: the key, the row, its summary x 100 and its runs; an empty field is a missing value."""
    header = [*_KEY, "method", "capacity", "row", "n", "mean", "std", "median", "t_low", "t_high"]
    header += ["bca_low", "bca_high"]
    lines: list[list[Any]] = [[*header, "method_parameters", "head_parameters", "runs_without_score", "runs"]]
    for section in sections:
        for row, column, runs in section.grid():
            found = summary(runs)
            numbers = [found.mean, found.std, found.median, found.low, found.high] if found else [None] * 5
            scores = [100 * run.score for run in runs if run.state == "ok" and run.score is not None]
            numbers += list(bootstrap_interval(scores) or (None, None))
            sizes = [_one(run.theta for run in runs), _one(run.head for run in runs)]
            without = " ".join(f"{run.id}:{run.state}" for run in runs if run.state != "ok")
            capacity = f"{row.capacity[0]}={row.capacity[1]}" if row.capacity else None
            named = [*column.values, row.method, capacity, row.label, found.n if found else 0]
            lines.append([*named, *map(_number, numbers), *sizes, without, " ".join(run.id for run in runs)])
    return to_csv(lines)


def _one(counts: Iterable[int | None]) -> int | None:
    """The count that the runs of a cell share; a run that failed early has none."""
    return next((count for count in counts if count is not None), None)


def differences_csv(found: Iterable[Difference], baseline: str) -> str:
    """One line per row and column: the difference x 100, its intervals, the tests, and the pairs of runs behind it.

    `low` and `high` are over test examples. `mcnemar` has for each pair, in order, how many examples only the row's run
    has right, how many only the baseline's, and the p-value.
    """
    header = ["row", "baseline", "n", "difference", "low", "high", "seeds_low", "seeds_high", "both_low", "both_high"]
    lines: list[list[Any]] = [[*_KEY, *header, "p", "holm_p", "mcnemar", "reason", "pairs"]]
    for entry in found:
        numbers = [entry.claim[1].difference if entry.claim else None]
        for interval in (entry.interval, entry.over_seeds, entry.two_level):
            numbers += [interval.low, interval.high] if interval else [None, None]
        tests = " ".join(f"{test.only_ours}:{test.only_theirs}:{test.p:.3g}" for test in entry.tests)
        p_values = [None if p is None else f"{p:.3g}" for p in (entry.p, entry.holm_p)]
        pairs = " ".join(f"{ours}-{theirs}" for ours, theirs in entry.pairs)
        named = [*entry.column.values, entry.row.label, baseline, len(entry.pairs)]
        percent = [None if value is None else 100 * value for value in numbers]
        lines.append([*named, *map(_number, percent), *p_values, tests, entry.reason, pairs])
    return to_csv(lines)


def cells_json(sections: Iterable[Section], folder: Path) -> str:
    """Every cell with its runs: id, record (relative to the folder that was read), outcome, seeds, score."""
    cells = [
        {
            "key": column.model_dump(),
            "row": row.label,
            "runs": [
                {
                    "id": run.id,
                    "identity": run.identity,
                    "record": run.path.relative_to(folder).as_posix(),
                    "outcome": run.outcome,
                    "seeds": run.seeds,
                    "score": run.score,
                }
                for run in runs
            ],
        }
        for section in sections
        for row, column, runs in section.grid()
    ]
    return json.dumps({"schema": 1, "cells": cells}, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _number(value: float | None) -> str | None:
    return None if value is None or not math.isfinite(value) else f"{value:.4f}"


def to_csv(lines: Iterable[Iterable[Any]]) -> str:
    """Lines of fields as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(inert, line) for line in lines)
    return text.getvalue()


def frame_csv(data: pd.DataFrame) -> str:
    """Data of a figure or a table as CSV."""
    return data.rename(columns=inert).map(inert).to_csv(index=False, lineterminator="\n")


def inert(field: Any) -> Any:
    """A field of CSV that no spreadsheet takes for a formula: a text that would begin one is led by an apostrophe.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if not isinstance(field, str) or not field.startswith(("=", "+", "-", "@", "\t", "\r")):
        return field
    try:
        float(field)
    except ValueError:
        return f"'{field}"
    return field
