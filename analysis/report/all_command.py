"""`python -m analysis all DIR`: every table, figure and page that the records in a folder give, made anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from analysis.isometry_command import FIGURES, write_isometry
from analysis.plots import FORMATS, KINDS
from analysis.plots.isometry_table import isometry_data
from analysis.plots_command import write_plots
from analysis.records import read_runs
from analysis.report.report_command import write_report
from analysis.table_command import write_tables


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    everything = commands.add_parser("all", help="tables, isometry, plots and report in one go")
    everything.add_argument("folder", metavar="DIR", type=Path, help="read every record.json in it and below")
    everything.add_argument("--baseline", metavar="ROW", help="a method or a row's label to take paired differences to")
    everything.add_argument(
        "--out", metavar="FOLDER", type=Path, help="holds tables, isometry, plots and report.html (default: DIR)"
    )
    everything.set_defaults(execute=lambda o: write_all(o.folder, o.out or o.folder, o.baseline))


def write_all(folder: Path, out: Path, baseline: str | None) -> None:
    """Write what every command writes, and say of what there is nothing.

    Raises:
        InputError: if a record cannot be used, or no row is the baseline.
        OSError: if a file cannot be written.
    """
    runs = read_runs(folder)
    write_tables(folder, out / "tables", baseline)
    kinds = tuple(kind for kind in KINDS if kind not in FIGURES)
    if all(run.is_trial for run in runs):
        print("skipped isometry and plots: all runs are trials of a search")
    else:
        if isometry_data(runs).empty:
            print("skipped isometry: needs runs made with diagnostics=isometry")
        else:
            write_isometry(folder, out / "isometry")
        write_plots(folder, out / "plots", FORMATS, kinds)
    write_report(folder, out / "report.html", baseline)
