"""`python -m analysis isometry DIR`: how far from an isometry each method's map is, as a table and figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from analysis.options import names
from analysis.plots import FORMATS, Figure, figures
from analysis.plots.isometry_table import isometry_data, isometry_markdown
from analysis.plots_command import write_figures
from analysis.records import InputError, Run
from analysis.render import frame_csv

FIGURES = ("ratios", "jacobian", "spectra", "theta", "occupancy")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    isometry = commands.add_parser("isometry", help="distance ratios, singular values and group sizes of each method")
    isometry.add_argument("folder", metavar="DIR", type=Path, help="read every record.json in it and below")
    isometry.add_argument("--out", metavar="FOLDER", type=Path, help="where the files go (default: DIR/isometry)")
    isometry.add_argument("--format", **names(FORMATS, "format"))
    isometry.set_defaults(execute=_execute)


def _execute(options: argparse.Namespace, runs: Sequence[Run]) -> None:
    found = figures(runs, FIGURES)
    write_isometry(runs, found, options.folder, options.out or options.folder / "isometry", options.format)


def write_isometry(
    runs: Sequence[Run], found: Sequence[Figure], folder: Path, out: Path, formats: Sequence[str] = FORMATS
) -> None:
    """Print the table of all runs with `diagnostics.isometry`, and write it with the figures.

    Args:
        runs: all runs of the folder.
        found: their figures of the kinds `FIGURES`.
        folder: where the runs come from.
        out: where the files go.
        formats: of the figures.

    Raises:
        InputError: if no run has the diagnostic.
        OSError: if a file cannot be written.
    """
    data = isometry_data(runs)
    if data.empty:
        raise InputError([f"{folder}: no run has diagnostics.isometry; accepted: runs made with diagnostics=isometry"])
    text = isometry_markdown(data)
    out.mkdir(parents=True, exist_ok=True)
    (out / "isometry.md").write_text(text, encoding="utf-8")
    (out / "isometry.csv").write_text(frame_csv(data), encoding="utf-8")
    print(text)
    write_figures(found, out, formats)
