"""What the page knows of every run, as data for its script, which opens it where it is asked for."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from analysis.plots import Group
from analysis.records import Run, Value
from schema.record import History, Record

MOST_POINTS = 120
"""Points of a curve that the page draws; longer ones are thinned, and the page says so."""

_DIGITS = 5
_SAFE_INTEGER = 2**53
_BULK = ("path", "curves", "layers", "surface")
"""Parts of diagnostics that are drawn in plots and too long to list."""


def details(group: Group, folder: Path) -> dict[str, str]:
    """What the page says of every run of a column, as JSON, by id; paths are relative to the folder that was read.

    Raises:
        InputError: if a record has changed since it was read.
    """
    members = group.section.runs(column=group.column)
    differing = _differing(members)
    found: dict[str, str] = {}
    for run in members:
        own = {key: run.settings[key] for key in differing if run.settings.get(key) is not None}
        content = portable(_run(run, group.record(run), own, folder))
        found[run.id] = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return found


def packed(runs: Sequence[str]) -> str:
    """The details of some runs as a script can open them: a JSON list, in gzip, in base64.

    Runs of a cell share most of their text, which compression keeps once.
    """
    text = f"[{','.join(runs)}]"
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _differing(runs: Sequence[Run]) -> list[str]:
    """The settings in which the runs of a column differ."""
    keys = {key for run in runs for key in run.settings}
    return sorted(key for key in keys if len({run.settings.get(key) for run in runs}) > 1)


def _run(run: Run, record: Record, own: dict[str, Value], folder: Path) -> dict[str, Any]:
    return {
        "config": _given(record.config),
        "provenance": _given(record.provenance),
        "cost": _given(record.cost),
        "curves": curves(record.history, run.column.metric),
        "diagnostics": {name: _scalars(value) for name, value in _given(record.diagnostics).items() if value},
        "differing": own,
        "error": None if record.error is None else _given(record.error),
        "id": run.id,
        "identity": run.identity,
        "metrics": _given(record.metrics),
        "record": run.path.relative_to(folder).as_posix(),
        "round_trip": _given(record.round_trip),
        "score": None if run.score is None else 100 * run.score,
        "seeds": {**run.seeds, **run.own_seeds},
        "sizes": _given(record.sizes),
        "state": run.state,
    }


def _given(part: BaseModel) -> dict[str, Any]:
    """A part as its record has it, without what an older record did not."""
    return part.model_dump(exclude_unset=True)


def curves(history: History, metric: str) -> dict[str, Any]:
    """Training loss and the score that selects the epoch (x 100; a loss as it is), over epochs, thinned."""
    name = metric if any(metric in epoch.selection for epoch in history.epochs) else "loss"
    factor = 1 if name == "loss" else 100
    selection = [(epoch.epoch, _scaled(epoch.selection.get(name), factor)) for epoch in history.epochs]
    return {
        "best_epoch": history.best_epoch,
        "loss": _thinned([(step.epoch, step.loss) for step in history.steps]),
        "selection": {"name": name, **_thinned(selection)},
    }


def _scaled(value: float | None, factor: int) -> float | None:
    return None if value is None else factor * value


def _thinned(points: Sequence[tuple[float, float | None]]) -> dict[str, Any]:
    """Evenly spaced points, the first and the last among them, and of how many."""
    last = len(points) - 1
    kept = points
    if len(points) > MOST_POINTS:
        kept = [points[round(i * last / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]
    return {"of": len(points), "points": [[_rounded(x), None if y is None else _rounded(y)] for x, y in kept]}


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _scalars(value: Any) -> Any:
    """Nested values without lists of numbers and the parts that are plotted."""
    if isinstance(value, Mapping):
        items = {name: _scalars(item) for name, item in value.items() if name not in _BULK}
        return {name: item for name, item in items.items() if item not in ({}, [])}
    if isinstance(value, list):
        return [_scalars(item) for item in value if isinstance(item, Mapping)]
    return value


def portable(value: Any) -> Any:
    """JSON that a script reads without loss: integers beyond 2^53 as text."""
    if isinstance(value, Mapping):
        return {name: portable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(item) for item in value]
    return str(value) if isinstance(value, int) and abs(value) > _SAFE_INTEGER else value
