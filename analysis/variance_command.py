"""`python -m analysis variance DIR`: which seed the scores of each cell depend on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.cells import sections
from analysis.records import InputError, Run
from analysis.render import markdown, to_csv
from analysis.variance import Component
from analysis.variance_table import Cell, decomposed, variance_table


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    command = commands.add_parser("variance", help="variance of scores by partition, init, head, data and split seed")
    command.add_argument("folder", metavar="DIR", type=Path, help="read every record.json in it and below")
    command.add_argument("--out", metavar="FOLDER", type=Path, help="where the files go (default: DIR/variance)")
    command.set_defaults(execute=lambda o, runs: write_variance(runs, o.folder, o.out or o.folder / "variance"))


def write_variance(runs: Sequence[Run], folder: Path, out: Path) -> None:
    """Print the components of every cell with two scored runs, and write variance.md, .csv and .json.

    Raises:
        InputError: with a line per cell if no cell's runs identify a component.
        OSError: if a file cannot be written.
    """
    cells = [cell for section in sections(runs) for cell in decomposed(section)]
    if not any(cell.found.identified for cell in cells):
        raise InputError(_refusal(folder, cells))
    text = markdown([variance_table(cell) for cell in cells])
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


def _line(cell: Cell, component: Component) -> dict[str, Any]:
    """One component, variances of scores as fractions; one that cannot be told has a reason and empty fields."""
    numbers = {name: getattr(component, name) for name in ("variance", "low", "high", "share")}
    return {
        **cell.column.model_dump(),
        "row": cell.row.label,
        "seed": component.source,
        "levels": component.levels,
        "degrees_of_freedom": component.freedom,
        **{name: None if value is None else f"{value:.8g}" for name, value in numbers.items()},
        "reason": component.reason,
        "runs": " ".join(component.runs),
    }


def _json(cells: Sequence[Cell]) -> str:
    content = [{"key": cell.column.model_dump(), "row": cell.row.label, **asdict(cell.found)} for cell in cells]
    return json.dumps({"schema": 1, "cells": content}, indent=1, sort_keys=True, allow_nan=False) + "\n"
