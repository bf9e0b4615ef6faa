"""`python -m analysis report DIR`: one HTML page with the tables, the plots and every run behind a number."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from analysis.differences import baseline_row
from analysis.plots import Figure, render
from analysis.records import InputError, Run
from analysis.report.material import Material, material
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
    write_report(material(runs, options.folder), out, options.baseline)


def write_report(found: Material, out: Path, baseline: str | None) -> None:
    """Write the page of what was found in a folder.

    Raises:
        InputError: if no row is the baseline.
        OSError: if the file cannot be written.
    """
    rows = [None] * len(found.sections) if baseline is None else baseline_row(found.sections, baseline)
    plots = [_plot(figure) for figure in found.figures]
    text = page(found.runs, found.sections, rows, plots, found.details, found.undrawn)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    if found.undrawn:
        print(found.undrawn)
    print(f"written to {out}")


def _plot(figure: Figure) -> Plot:
    # The key after the colon stands above the plots already.
    title = figure.title.split(": ")[0]
    return Plot(figure.column, title, figure.caption, (figure.width, figure.height), render(figure, "svg"))
