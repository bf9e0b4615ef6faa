"""`python -m analysis tables DIR`: scores and paired differences, on screen and as files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from analysis import render
from analysis.cells import Section, sections
from analysis.differences import Difference, baseline_row, differences
from analysis.latex import latex
from analysis.options import names
from analysis.publication import publication_table
from analysis.records import Run
from analysis.tables import STATISTICS, Table, difference_table, significance_table, trials_note

FORMATS = ("markdown", "csv", "latex")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    tables = commands.add_parser("tables", help="mean, spread and number of runs per method and task")
    tables.add_argument("folder", metavar="DIR", type=Path, help="read every record.json in it and below")
    tables.add_argument("--baseline", metavar="ROW", help="a method or a row's label to take paired differences to")
    tables.add_argument("--out", metavar="FOLDER", type=Path, help="where the files go (default: DIR/tables)")
    tables.add_argument("--format", **names(FORMATS, "format"))
    tables.add_argument("--statistic", choices=STATISTICS, default="mean", help="over seeds (default: mean)")
    tables.set_defaults(
        execute=lambda o, runs: write_tables(
            runs, o.folder, o.out or o.folder / "tables", o.baseline, o.format, o.statistic
        )
    )


def write_tables(
    runs: Sequence[Run],
    folder: Path,
    out: Path,
    baseline: str | None,
    formats: Sequence[str] = FORMATS,
    statistic: str = "mean",
) -> None:
    """Print the tables of runs, and write them as files; paths of records are relative to `folder`.

    Raises:
        InputError: if no row is the baseline.
        OSError: if a file cannot be written.
    """
    found = sections(runs)
    tables = [publication_table(section, statistic) for section in found]
    files = [("csv", "tables.csv", render.scores_csv(found))]
    if baseline is not None:
        compared, entries = _compared(found, baseline)
        tables += compared
        files.append(("csv", "differences.csv", render.differences_csv(entries, baseline)))
    text = render.markdown(tables) + (trials_note(runs) or "")
    files += [("markdown", "tables.md", text), ("latex", "tables.tex", latex(tables))]
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    for kind, name, content in files:
        if kind in formats:
            (out / name).write_text(content, encoding="utf-8")
    (out / "cells.json").write_text(render.cells_json(found, folder), encoding="utf-8")
    print(f"written to {out}")


def _compared(found: Sequence[Section], baseline: str) -> tuple[list[Table], list[Difference]]:
    tables: list[Table] = []
    entries: list[Difference] = []
    for section, row in zip(found, baseline_row(found, baseline), strict=True):
        if row is not None:
            own = differences(section, row)
            tables += filter(None, [difference_table(section, row, own), significance_table(section, row, own)])
            entries += own
    return tables, entries
