"""Tables to Markdown, CSV, LaTeX (booktabs) and JSON; the same tables always give the same bytes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from analysis.cells import Section
from analysis.differences import Difference
from analysis.tables import Table, summary

_KEY = ("task", "source", "subset", "backbone", "protocol", "track", "metric")
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
}


def markdown(tables: Sequence[Table]) -> str:
    """GitHub-flavoured Markdown, aligned to be read as plain text too."""
    return "\n".join(_markdown_table(table) for table in tables)


def _markdown_table(table: Table) -> str:
    headings = [", ".join(heading.lines) + heading.marks for heading in table.headings]
    grid = [[cell.replace("|", r"\|") for cell in row] for row in (headings, *table.rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*grid, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in grid]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join([f"## {table.title}", "", *lines, "", *(f"- {note}" for note in table.notes), ""])


def latex(tables: Sequence[Table]) -> str:
    r"""LaTeX tables; the document needs \usepackage{booktabs}."""
    return "\n".join(_latex_table(table) for table in tables)


def _latex_table(table: Table) -> str:
    def heading(lines: Sequence[str], marks: str) -> str:
        escaped = r"\\".join(escape(line) for line in lines)
        return rf"\shortstack{{{escaped}}}" + escape(marks)

    headings = [heading(entry.lines, entry.marks) for entry in table.headings]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
        r"\toprule",
        " & ".join(headings) + r" \\",
        r"\midrule",
        *(" & ".join(escape(cell) for cell in row) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par{{\footnotesize {escape(note)}}}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text as LaTeX prints it; a minus before a number becomes a mathematical one."""
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)


def scores_csv(sections: Iterable[Section]) -> str:
    """One line per cell: the key, the row, its summary x 100 and its runs; an empty field is a missing value."""
    header = [*_KEY, "method", "capacity", "row", "n", "mean", "std", "median", "t_low", "t_high"]
    lines: list[list[Any]] = [[*header, "method_parameters", "head_parameters", "runs_without_score", "runs"]]
    for section in sections:
        for row, column, runs in section.grid():
            found = summary(runs)
            numbers = [found.mean, found.std, found.median, found.low, found.high] if found else [None] * 5
            sizes = [_one(run.theta for run in runs), _one(run.head for run in runs)]
            without = " ".join(f"{run.id}:{run.state}" for run in runs if run.state != "ok")
            capacity = f"{row.capacity[0]}={row.capacity[1]}" if row.capacity else None
            named = [*column, row.method, capacity, row.label, found.n if found else 0]
            lines.append([*named, *map(_number, numbers), *sizes, without, " ".join(run.id for run in runs)])
    return _csv(lines)


def _one(counts: Iterable[int | None]) -> int | None:
    """The count that the runs of a cell share; a run that failed early has none."""
    return next((count for count in counts if count is not None), None)


def differences_csv(found: Iterable[Difference], baseline: str) -> str:
    """One line per row and column: the difference x 100, its interval, and the pairs of runs behind it."""
    lines: list[list[Any]] = [[*_KEY, "row", "baseline", "n", "difference", "low", "high", "reason", "pairs"]]
    for entry in found:
        numbers = [100 * value for value in entry.interval] if entry.interval else [None] * 3
        pairs = " ".join(f"{ours}-{theirs}" for ours, theirs in entry.pairs)
        named = [*entry.column, entry.row.label, baseline, len(entry.pairs)]
        lines.append([*named, *map(_number, numbers), entry.reason, pairs])
    return _csv(lines)


def cells_json(sections: Iterable[Section], folder: Path) -> str:
    """Every cell with its runs: id, record (relative to the folder that was read), outcome, seeds, score."""
    cells = [
        {
            "key": dict(zip(_KEY, column, strict=True)),
            "row": row.label,
            "runs": [
                {
                    "id": run.id,
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
    return None if value is None else f"{value:.4f}"


def _csv(lines: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
