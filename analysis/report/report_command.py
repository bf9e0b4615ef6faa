"""`python -m analysis report DIR`: one HTML page with the tables, the plots and every run behind a number."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.cells import sections
from analysis.differences import baseline_row
from analysis.plots import Figure, figures, render
from analysis.records import InputError, read_runs
from analysis.report.page import Plot, page


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    report = commands.add_parser("report", help="one HTML page: tables, plots, and every run behind a number")
    report.add_argument("folder", metavar="DIR", type=Path, help="read every record.json in it and below")
    report.add_argument("--baseline", metavar="ROW", help="a method or a row's label to take paired differences to")
    report.add_argument("--out", metavar="FILE", type=Path, help="the page (default: DIR/report.html)")
    report.set_defaults(execute=lambda o: write_report(o.folder, o.out or o.folder / "report.html", o.baseline))


def write_report(folder: Path, out: Path, baseline: str | None) -> None:
    """Write the page of the records below a folder.

    Raises:
        InputError: if a record cannot be used, no row is the baseline, or the file is not named as a page.
        OSError: if the file cannot be written.
    """
    if out.suffix != ".html":
        raise InputError(
            [f"--out={out}: the page is HTML and may replace nothing else; accepted: a name ending in .html"]
        )
    runs = read_runs(folder)
    found = sections(runs)
    baselines = [None] * len(found) if baseline is None else baseline_row(found, baseline)
    plots = [_plot(figure) for figure in figures(runs)]
    text = page(runs, found, baselines, plots, folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    print(f"written to {out}")


def _plot(figure: Figure) -> Plot:
    # The key after the colon stands above the plots already.
    title = figure.title.split(": ")[0]
    return Plot(figure.column, title, figure.caption, (figure.width, figure.height), render(figure, "svg"))
