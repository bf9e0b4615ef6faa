"""The table of `diagnostics.isometry`: as data a line per run, as Markdown a line per row and task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from analysis.cells import OLDER, sections
from analysis.markdown import escaped
from analysis.plots.figure import frame
from analysis.records import Run
from analysis.tables import OLDER_NOTE
from schema.diagnostics import Isometry, NotMeasured, Ratios
from schema.identity import VERSION as IDENTITY
from schema.record import BROKEN

_KEY = ("backbone", "protocol", "track", "task", "source", "subset")
_RATIOS = ("n", "min", "median", "max")
_SINGULAR = ("largest", "smallest", "condition", "null_directions", "smallest_nonzero", "condition_complement")
_NUMBERS = (
    *("status", "reason", "map", "parameters", "weights"),
    *(f"{pairs}_{name}" for pairs in ("random", "trained") for name in _RATIOS),
    *_SINGULAR,
    *("null_low", "null_high", "gram_diagonal", "gram_off_diagonal", "dead_coordinates"),
    *(f"{kind}_{end}" for kind in ("float32", "bfloat16", "float16") for end in ("min", "max")),
)
"""The columns after the run, in their order."""
_HEADINGS = (
    "method",
    "task",
    "n",
    "map",
    "random pairs: min, median, max",
    "trained pairs: min, median, max",
    "condition",
    "null directions",
    "condition on the complement",
    "PᵀP - I: diagonal, off",
    "dead coordinates",
    "random pairs in float32: min, max",
    "in bfloat16: min, max",
    "runs",
)
_NONE = "-"
_NEAR_ONE = 5e-5
_NOTE = (
    "Pairs: distance of two weight changes over that of the two points of trained values that give them; 1 everywhere "
    "for an isometry. Random pairs lie on the sphere around the start whose radius training covered; trained pairs are "
    "snapshots of training. Condition: largest over smallest singular value of the Jacobian at the kept epoch; it is "
    "infinite where directions change nothing, hence also on the complement of these. A number of such directions that "
    "has an interval is an estimate, without one it is counted. PᵀP - I: largest absolute "
    "entries, of linear maps. float32, bfloat16: where the whole model has that type. Of several runs (n) the smallest "
    "min, the median of the medians, and the largest of all other numbers; isometry.csv has each run for itself. "
    f"{_NONE}: no value."
)


def isometry_data(runs: Iterable[Run]) -> pd.DataFrame:
    """One line per run that has `diagnostics.isometry`, by section, row and column; numbers as recorded.

    Raises:
        InputError: if a record changed since it was read.
    """
    return frame(
        {key: getattr(column, key) for key in _KEY}
        | {"row": row.label, "method": row.method, "identity": row.identity, "run": run.id}
        | dict.fromkeys(_NUMBERS)
        | _line(run, found)
        for section in sections(runs)
        for row, column, members in section.grid()
        for run in members
        if (found := run.record().diagnostics.isometry)
    )


def _line(run: Run, found: Isometry | NotMeasured) -> dict[str, Any]:
    """A run's status and its numbers by name; none of a model that is not the one which was saved."""
    if run.outcome == BROKEN:
        return {"status": run.outcome, "reason": run.reason or "", "map": ""}
    if isinstance(found, NotMeasured):
        return {"status": found.status, "reason": found.reason, "map": ""}
    return {"status": found.status, "reason": "", **_numbers(found)}


def _numbers(found: Isometry) -> dict[str, Any]:
    line: dict[str, Any] = {"map": found.map, "parameters": found.parameters, "weights": found.weights}
    line |= _named("random", found.ratios.random) | _named("trained", found.ratios.trained)
    kept = next((point for point in found.jacobian if point.point == "kept"), None)
    if kept is not None:
        line |= kept.model_dump(include=set(_SINGULAR))
        line["null_low"], line["null_high"] = kept.null_interval or (None, None)
    if found.gram is not None:
        line |= {"gram_diagonal": found.gram.diagonal, "gram_off_diagonal": found.gram.off_diagonal}
    if found.occupancy is not None:
        line["dead_coordinates"] = found.occupancy.dead
    for name, rounded in (("float32", found.precision.float32), ("bfloat16", found.precision.bfloat16)):
        line |= {f"{name}_min": rounded.ratios.min, f"{name}_max": rounded.ratios.max}
    low = found.precision.float16.ratios
    return line | {"float16_min": low.min, "float16_max": low.max}


def _named(pairs: str, ratios: Ratios) -> dict[str, Any]:
    return {f"{pairs}_{name}": value for name, value in ratios.model_dump(include=set(_RATIOS)).items()}


def isometry_markdown(data: pd.DataFrame) -> str:
    """A table per section of `isometry_data`, with a line per row and task."""
    parts = []
    for (backbone, protocol, track), own in data.groupby(["backbone", "protocol", "track"]):
        lines = [_cells(cell) for _, cell in own.groupby(["row", "task", "source", "subset"], sort=False)]
        rule = ("---",) * len(_HEADINGS)
        grid = "\n".join(
            f"| {' | '.join(line)} |" for line in (_HEADINGS, rule, *(map(escaped, line) for line in lines))
        )
        title = escaped(f"backbone {backbone}, protocol {protocol}, track {track}")
        parts.append(f"## {title}\n\n{grid}\n")
    older = [OLDER_NOTE + "\n"] if (data["identity"] < IDENTITY).any() else []
    return "\n".join([*parts, _NOTE + "\n", *older])


def _cells(runs: pd.DataFrame) -> tuple[str, ...]:
    first, others = runs.iloc[0], runs[runs["status"] != "measured"]
    reasons = dict.fromkeys(f"{run['status']}: {run['reason']}" for _, run in others.iterrows())
    kinds = [kind for kind in dict.fromkeys(runs["map"]) if kind]
    task = f"{first['task']} ({first['source']}, {first['subset']})"
    # Directions that change nothing make the condition infinite, which a record writes as null.
    condition = "∞" if (runs["null_directions"] > 0).any() else _largest(runs, "condition")
    return (
        first["row"] if first["identity"] == IDENTITY else f"{first['row']} {OLDER}",
        task,
        str(len(runs)),
        "; ".join([*kinds, *reasons]),
        _several(runs, "random_min", "random_median", "random_max"),
        _several(runs, "trained_min", "trained_median", "trained_max"),
        condition,
        _null_directions(runs),
        _largest(runs, "condition_complement"),
        _several(runs, "gram_diagonal", "gram_off_diagonal"),
        _largest(runs, "dead_coordinates"),
        _several(runs, "float32_min", "float32_max"),
        _several(runs, "bfloat16_min", "bfloat16_max"),
        " ".join(runs["run"]),
    )


def _null_directions(runs: pd.DataFrame) -> str:
    """The largest count; of an estimate the nearest whole number with its interval."""
    if runs["null_low"].isna().all():
        return _largest(runs, "null_directions")
    run = runs.sort_values("null_directions").iloc[-1]
    return f"{run['null_directions']:.0f} [{run['null_low']:.0f}, {run['null_high']:.0f}]"


def _several(runs: pd.DataFrame, *names: str) -> str:
    texts = [_largest(runs, name) for name in names]
    return _NONE if set(texts) == {_NONE} else ", ".join(texts)


def _largest(runs: pd.DataFrame, name: str) -> str:
    """The largest value of the runs; of a minimum the smallest, of a median the median."""
    values = runs[name].dropna()
    how = "min" if name.endswith("_min") else "median" if name.endswith("_median") else "max"
    return _number(float(values.agg(how))) if len(values) else _NONE


def _number(value: float) -> str:
    """Six digits; a number that these would round to 1 as its distance from 1."""
    return f"1{value - 1:+.1e}" if 0 < abs(value - 1) < _NEAR_ONE else f"{value:.6g}"
