"""`python -m analysis variance DIR`: which seed the scores of each cell depend on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from analysis.cells import Row, Section, sections
from analysis.records import Column, InputError, Run, read_runs
from analysis.render import markdown, to_csv
from analysis.tables import Heading, Table
from analysis.variance import Component, Decomposition, decompose

_NOTE = (
    "Standard deviation of the score x 100 that one seed brings while all others stand (square root of its variance "
    "component, an analysis of variance within the runs that differ in this seed alone), with its 95 % interval, its "
    "number of levels, and its share of the components' sum; what two seeds do jointly is in both of their components."
)


class Cell(NamedTuple):
    """A cell and its decomposition."""

    section: Section
    row: Row
    column: Column
    found: Decomposition


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    command = commands.add_parser("variance", help="variance of scores by partition, init, head, data and split seed")
    command.add_argument("folder", metavar="DIR", type=Path, help="read every record.json in it and below")
    command.add_argument("--out", metavar="FOLDER", type=Path, help="where the files go (default: DIR/variance)")
    command.set_defaults(
        execute=lambda o: write_variance(read_runs(o.folder), o.folder, o.out or o.folder / "variance")
    )


def write_variance(runs: Sequence[Run], folder: Path, out: Path) -> None:
    """Print the components of every cell with two scored runs, and write variance.md, .csv and .json.

    Raises:
        InputError: with a line per cell if no cell's runs identify a component.
        OSError: if a file cannot be written.
    """
    cells = [
        Cell(section, row, column, decompose(members))
        for section in sections(runs)
        for row, column, members in section.grid()
        if sum(run.state == "ok" for run in members) > 1
    ]
    if not any(cell.found.identified for cell in cells):
        raise InputError(_refusal(folder, cells))
    text = markdown([_table(cell) for cell in cells])
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    lines = [_line(cell, component) for cell in cells for component in cell.found.components]
    (out / "variance.md").write_text(text, encoding="utf-8")
    (out / "variance.csv").write_text(to_csv([list(lines[0]), *(line.values() for line in lines)]), encoding="utf-8")
    (out / "variance.json").write_text(_json(cells), encoding="utf-8")
    print(f"written to {out}")


def _refusal(folder: Path, cells: Sequence[Cell]) -> list[str]:
    accepted = "accepted: runs of one cell that differ in one seed alone, such as seeds.head=0,1,2"
    if not cells:
        return [f"{folder}: no cell with two scored runs; {accepted}"]
    return [
        f"{cell.row.label}, {cell.column.task}: no component of variance can be told: "
        + "; ".join(f"{component.source} {component.reason}" for component in cell.found.components)
        + f"; {accepted}"
        for cell in cells
    ]


def _table(cell: Cell) -> Table:
    section, column = cell.section, cell.column
    title = f"{cell.row.label} on {column.task} ({column.source}, {column.subset}): {column.metric} by seed, "
    title += f"backbone {section.backbone}, protocol {section.protocol}, track {section.track}"
    rows = tuple(
        (component.source, *_texts(component))
        if component.reason is None
        else (component.source, component.reason, "", "")
        for component in cell.found.components
    )
    names = ("seed", "standard deviation", "share", "levels")
    notes = [_NOTE]
    if cell.found.together is not None:
        n = len(cell.found.together_runs)
        notes.append(f"All varied seeds together: standard deviation {100 * cell.found.together**0.5:.2f} (n={n}).")
    return Table(title, tuple(Heading((name,)) for name in names), rows, tuple(notes))


def _texts(component: Component) -> tuple[str, str, str]:
    value, low, high = (100 * (part or 0.0) ** 0.5 for part in (component.variance, component.low, component.high))
    spread = f"{value:.2f} [{low:.2f}, {high:.2f}]"
    share = "undefined" if component.share is None else f"{100 * component.share:.0f} %"
    return spread, share, f"{component.levels}"


def _line(cell: Cell, component: Component) -> dict[str, Any]:
    """One component, variances of scores as fractions; one that cannot be told has a reason and empty fields."""
    numbers = {name: getattr(component, name) for name in ("variance", "low", "high", "share")}
    return {
        **cell.column._asdict(),
        "row": cell.row.label,
        "seed": component.source,
        "levels": component.levels,
        "degrees_of_freedom": component.freedom,
        **{name: None if value is None else f"{value:.8g}" for name, value in numbers.items()},
        "reason": component.reason,
        "runs": " ".join(component.runs),
    }


def _json(cells: Sequence[Cell]) -> str:
    content = [{"key": cell.column._asdict(), "row": cell.row.label, **asdict(cell.found)} for cell in cells]
    return json.dumps({"schema": 1, "cells": content}, indent=1, sort_keys=True, allow_nan=False) + "\n"
