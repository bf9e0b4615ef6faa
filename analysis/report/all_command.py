"""`python -m analysis all DIR`: every table, figure and page that the records in a folder give, made anew."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.aggregate_command import write_aggregates
from analysis.bench import read_benches
from analysis.bench_command import write_bench
from analysis.differences import baseline_row
from analysis.isometry_command import FIGURES, write_isometry
from analysis.plots import FORMATS, KINDS
from analysis.plots_command import write_plots
from analysis.records import InputError, Run
from analysis.report.material import material
from analysis.report.report_command import write_report
from analysis.table_command import write_tables
from analysis.variance_command import write_variance
from schema.folder import Fault


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    everything = commands.add_parser("all", help="tables, aggregates, variance, isometry, plots and report in one go")
    everything.add_argument("folder", metavar="DIR", type=Path, help="read every record.json in it and below")
    everything.add_argument("--baseline", metavar="ROW", help="a method or a row's label to take paired differences to")
    everything.add_argument(
        "--out", metavar="FOLDER", type=Path, help="holds a folder of each command and report.html (default: DIR)"
    )
    everything.set_defaults(execute=lambda o, runs: write_all(runs, o.folder, o.out or o.folder, o.baseline))


def write_all(runs: Sequence[Run], folder: Path, out: Path, baseline: str | None) -> list[Fault]:
    """Write what every command writes, and say in one line each of what there is nothing.

    Returns:
        the bench records that cannot be used.

    Raises:
        InputError: if no row is the baseline.
        OSError: if a file cannot be written.
    """
    found = material(runs, folder)
    if baseline is not None:
        baseline_row(found.sections, baseline)
    isometry, others = ([f for f in found.figures if (f.kind in FIGURES) is own] for own in (True, False))
    write_tables(runs, folder, out / "tables", baseline)
    _if_any("aggregates", lambda: write_aggregates(runs, folder, out / "aggregates", baseline))
    _if_any("variance", lambda: write_variance(runs, folder, out / "variance"))
    _if_any("isometry", lambda: write_isometry(runs, isometry, folder, out / "isometry"))
    if found.sections:
        write_plots(runs, others, out / "plots", FORMATS, [kind for kind in KINDS if kind not in FIGURES])
    else:
        print("skipped plots: all runs are trials of a search")
    faults = _benches(folder / "bench", out / "bench")
    write_report(found, out / "report.html", baseline)
    return faults


def _benches(folder: Path, out: Path) -> list[Fault]:
    """Write the tables of the bench records in a folder; give back those that cannot be used."""
    if not any(folder.glob("*.json")):
        print(f"skipped bench: {folder} holds no record")
        return []
    found = read_benches([folder])
    if found.kept:
        _if_any("bench", lambda: write_bench(found.kept, out))
    return found.faults


def _if_any(name: str, write: Callable[[], None]) -> None:
    """Write, or say that the records hold nothing for it: the input itself has been checked by then."""
    try:
        write()
    except InputError as nothing:
        print(f"skipped {name}: {nothing.lines[0]}")
