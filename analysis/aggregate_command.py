"""`python -m analysis aggregate DIR`: aggregates across tasks and seeds, and performance profiles."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.aggregate_table import aggregate_table, estimates
from analysis.aggregates import THRESHOLDS, Pool, performance_profile, pools
from analysis.cells import Row, Section, sections
from analysis.differences import baseline_row
from analysis.records import InputError, Run
from analysis.render import markdown, to_csv


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    command = commands.add_parser("aggregate", help="interquartile mean across tasks, and performance profiles")
    command.add_argument("folder", metavar="DIR", type=Path, help="read every record.json in it and below")
    command.add_argument("--baseline", metavar="ROW", help="a method or a row's label to be better than")
    command.add_argument("--out", metavar="FOLDER", type=Path, help="where the files go (default: DIR/aggregates)")
    command.set_defaults(
        execute=lambda o, runs: write_aggregates(runs, o.folder, o.out or o.folder / "aggregates", o.baseline)
    )


def write_aggregates(runs: Sequence[Run], folder: Path, out: Path, baseline: str | None) -> None:
    """Print the aggregates of a folder's runs, and write them as aggregates.md, .csv and .json.

    Raises:
        InputError: if no row is the baseline, or no table has two tasks to aggregate.
        OSError: if a file cannot be written.
    """
    found = sections(runs)
    bases = baseline_row(found, baseline) if baseline is not None else [None] * len(found)
    pooled = [(section, base, pool) for section, base in zip(found, bases, strict=True) for pool in pools(section)]
    if not pooled:
        raise InputError([f"{folder}: no table with two tasks; accepted: records of two tasks that share one"])
    lines = [line for section, base, pool in pooled for line in _lines(section, base, pool)]
    if not lines:
        raise InputError([f"{folder}: {pool.reason}; accepted: one column per task" for _, _, pool in pooled])
    text = markdown([aggregate_table(section, base, pool) for section, base, pool in pooled])
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    (out / "aggregates.md").write_text(text, encoding="utf-8")
    (out / "aggregates.csv").write_text(to_csv([list(lines[0]), *(line.values() for line in lines)]), encoding="utf-8")
    (out / "aggregates.json").write_text(_json(pooled), encoding="utf-8")
    print(f"written to {out}")


def _lines(section: Section, base: Row | None, pool: Pool) -> list[dict[str, Any]]:
    """A line per row, scores x 100; one without an aggregate has a reason and empty fields."""
    lines = []
    for row in section.rows if pool.reason is None else ():
        line: dict[str, Any] = {"backbone": section.backbone, "protocol": section.protocol, "track": section.track}
        line |= {"tasks": " ".join(column.task for column in pool.columns), "row": row.label}
        found = estimates(pool, row, base) if row in pool.runs else {}
        for name in ("iqm", "mean", "improvement"):
            values = found.get(name) or (None, None, None)
            ends = zip((name, f"{name}_low", f"{name}_high"), values, strict=True)
            line |= {key: None if value is None else f"{value:.4f}" for key, value in ends}
        line["reason"] = pool.reasons.get(row)
        line["runs"] = " ".join(run.id for cell in pool.runs.get(row, ()) for run in cell)
        lines.append(line)
    return lines


def _json(pooled: Sequence[tuple[Section, Row | None, Pool]]) -> str:
    """Performance profiles of every row: thresholds, shares and their intervals, with the runs behind them."""
    profiles = []
    for section, _, pool in pooled:
        for row in pool.runs:
            found = performance_profile(pool.scores(row))
            numbers = {
                name: None if values is None else [round(float(value), 6) for value in values]
                for name, values in found._asdict().items()
            }
            place = {"backbone": section.backbone, "protocol": section.protocol, "track": section.track}
            tasks = [column.task for column in pool.columns]
            ids = [run.id for cell in pool.runs[row] for run in cell]
            profiles.append({**place, "tasks": tasks, "row": row.label, "runs": ids, **numbers})
    content = {"schema": 1, "thresholds": [round(float(value), 6) for value in THRESHOLDS], "profiles": profiles}
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
