"""`python -m analysis report DIR`: one HTML page with the tables, the plots and every run behind a number."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from analysis.cells import sections
from analysis.differences import baseline_row
from analysis.plots import Figure, figures, render
from analysis.records import InputError, Run
from analysis.report.page import Plot, page


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    report = commands.add_parser("report", help="one HTML page: tables, plots, and every run behind a number")
    report.add_argument("folder", metavar="DIR", type=Path, help="read every record.json in it and below")
    report.add_argument("--baseline", metavar="ROW", help="a method or a row's label to take paired differences to")
    report.add_argument("--out", metavar="FILE", type=Path, help="the page (default: DIR/report.html)")
    report.set_defaults(execute=_execute)


def _execute(options: argparse.Namespace, runs: Sequence[Run]) -> None:
    out = options.out or options.folder / "report.html"
    if out.suffix != ".html":
        raise InputError(
            [f"--out={out}: the page is HTML and may replace nothing else; accepted: a name ending in .html"]
        )
    write_report(runs, figures(runs), options.folder, out, options.baseline)


def write_report(runs: Sequence[Run], figures: Sequence[Figure], folder: Path, out: Path, baseline: str | None) -> None:
    """Write the page of runs and their figures; paths of records are relative to `folder`.

    Raises:
        InputError: if no row is the baseline, or a record has changed since it was read.
        OSError: if the file cannot be written.
    """
    found = sections(runs)
    baselines = [None] * len(found) if baseline is None else baseline_row(found, baseline)
    text = page(runs, found, baselines, [_plot(figure) for figure in figures], folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    print(f"written to {out}")


def _plot(figure: Figure) -> Plot:
    # The key after the colon stands above the plots already.
    title = figure.title.split(": ")[0]
    return Plot(figure.column, title, figure.caption, (figure.width, figure.height), render(figure, "svg"))
