"""Scores against what they cost: trained values, capacity, time and memory."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.cells import Row
from analysis.estimates import estimate
from analysis.plots.figure import Figure, Group, count_of, frame, ids, series
from analysis.plots.style import (
    COLUMN,
    LEGEND_LINE,
    PAGE,
    Canvas,
    Style,
    legend,
    legend_lines,
    logarithmic,
    marks,
    value_axis,
)
from analysis.records import Run
from analysis.statistics import DRAWS
from schema.record import Provenance

_FRONT = "#B3B3B3"
_GIB = 2**30


def score_data(group: Group, cells: Sequence[tuple[Row, Sequence[Run]]]) -> pd.DataFrame:
    """A line per cell: its row, series (the row without its capacity), sizes and the score with its interval."""
    lines = []
    for row, runs in cells:
        found = estimate(runs)
        lines.append(
            {
                "row": row.label,
                "series": series(row).label,
                "method": row.method,
                "capacity": row.capacity[1] if row.capacity else None,
                "parameters": next((run.theta for run in runs if run.theta is not None), None),
                "n": found.n,
                "score": found.mean,
                "low": found.low,
                "high": found.high,
                "interval": found.interval,
                "runs": ids(runs),
            }
        )
    return frame(lines)


def left_out(group: Group) -> str:
    """A sentence on the runs without a score; nothing where all have one."""
    states = {row.label: Counter(run.state for run in members if run.state != "ok") for row, members in group.cells()}
    texts = [f"{label} ({n} {state})" for label, counts in states.items() for state, n in sorted(counts.items())]
    return f" Left out, without a score: {'; '.join(texts)}." if texts else ""


def score_caption(group: Group, data: pd.DataFrame, text: str) -> str:
    """A caption's text, n, what the intervals are over, and what was left out."""
    return f"{text} {count_of(data['n'].tolist())}. {_interval_note(data['interval'].tolist())}{left_out(group)}"


def _interval_note(intervals: Sequence[str]) -> str:
    """The sentence of a caption on the intervals that are drawn."""
    notes = {
        "seeds": "95 % Student t interval of the mean over seeds",
        "examples": f"for one seed 95 % bootstrap interval over test examples ({DRAWS:,} draws), "
        "which holds nothing of what further seeds would do",
        "none": "rows of one seed without predictions have none",
    }
    return f"Intervals: {'; '.join(text for name, text in notes.items() if name in intervals)}."


def pareto(group: Group) -> Iterator[Figure]:
    """Score against the method's trained values; methods without any are levels across the figure."""
    cells = [(row, runs) for row, runs in group.scored() if runs[0].theta is not None]
    if not any(runs[0].theta for _, runs in cells):
        return
    data = score_data(group, cells)
    data["on_front"] = on_front(data)
    styles = group.series_styles(data["series"])
    text = (
        f"{group.score_label}, against the trained values of the method; the task head, which every method trains, is "
        "not counted. Grey: Pareto front, the best mean that so many values reach. Methods that train the head alone "
        "are horizontal lines, their intervals right of the axes. Points of equal size are shifted sideways a little."
    )
    height = 2.5 + LEGEND_LINE * legend_lines([*styles, "Pareto front"], COLUMN)[1]

    def draw(canvas: Canvas) -> None:
        _draw_pareto(canvas, data, styles)
        canvas.axes[0].set_ylabel(group.score_label)

    yield group.figure(
        "pareto", "Score against trained parameters", score_caption(group, data, text), data, (COLUMN, height), draw
    )


def on_front(data: pd.DataFrame) -> list[bool]:
    """Whether no other row has at most as many parameters and at least the score, and one of both strictly."""
    pairs = list(zip(data["parameters"], data["score"], strict=True))
    return [not any(p <= own_p and s >= own_s and (p < own_p or s > own_s) for p, s in pairs) for own_p, own_s in pairs]


def _draw_pareto(canvas: Canvas, data: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    axes = canvas.subplots()
    points, levels = data[data["parameters"] > 0], data[data["parameters"] == 0]
    logarithmic(axes.xaxis, points["parameters"].min(), points["parameters"].max(), counts=True)
    front = data[data["on_front"]].sort_values("parameters")
    left, right = axes.get_xlim()
    x = [max(left, value) for value in front["parameters"]]
    axes.step([*x, right], [*front["score"], front["score"].iloc[-1]], where="post", color=_FRONT, lw=2.2, zorder=0)
    _draw_levels(axes, levels, styles)
    places = points.groupby("parameters").cumcount() - (points.groupby("parameters")["row"].transform("size") - 1) / 2
    shifted = points.assign(x=points["parameters"] * (right / left) ** (0.018 * places))
    for name, own in shifted.groupby("series", sort=False):
        own = own.sort_values("parameters")
        _draw_points(axes, own["x"], own, styles[str(name)], joined=True)
    axes.set_xlabel("trained values of the method")
    lined = {*levels["series"], *points["series"][points["series"].duplicated()]}
    legend(canvas, styles, [Line2D([], [], color=_FRONT, lw=2.2, label="Pareto front")], lined)


def _draw_points(axes: Axes, x: pd.Series, own: pd.DataFrame, style: Style, joined: bool = False) -> None:
    axes.errorbar(x, own["score"], **marks(style, joined))
    known = own["low"].notna().to_numpy()
    axes.vlines(x[known], own["low"][known], own["high"][known], color=style.colour, lw=0.8)


def _draw_levels(axes: Axes, levels: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    """Horizontal lines, with their intervals right of the axes, where they cover nothing."""
    for place, (_, line) in enumerate(levels.iterrows(), 1):
        style = styles[line["series"]]
        axes.axhline(line["score"], color=style.colour, linestyle=style.line, lw=1, zorder=1)
        if pd.notna(line["low"]):
            x, transform = [1 + 0.02 * place] * 2, axes.get_yaxis_transform()
            axes.plot(x, [line["low"], line["high"]], color=style.colour, lw=0.8, transform=transform, clip_on=False)


def capacity(group: Group) -> Iterator[Figure]:
    """Score against d, a line per method that has a d; the others are levels across the figure."""
    cells = group.scored()
    sized = [row.capacity[1] for row, _ in cells if row.capacity and row.capacity[0] == "d"]
    if len(set(sized)) < 2:
        return
    data = score_data(group, cells)
    has_d = pd.Series([row.capacity is not None and row.capacity[0] == "d" for row, _ in cells])
    data["d"] = data["capacity"].where(has_d)
    data.loc[data["d"].isna(), "series"] = data["row"]
    styles = group.series_styles(data["series"])
    text = (
        f"{group.score_label}, against the capacity d. Methods without a d are horizontal lines, their intervals right "
        "of the axes."
    )
    height = 2.5 + LEGEND_LINE * legend_lines(list(styles), COLUMN)[1]

    def draw(canvas: Canvas) -> None:
        axes = canvas.subplots()
        points = data[data["d"].notna()]
        logarithmic(axes.xaxis, points["d"].min(), points["d"].max(), counts=True)
        _draw_levels(axes, data[data["d"].isna()], styles)
        for name, own in points.groupby("series", sort=False):
            own, style = own.sort_values("d"), styles[str(name)]
            _draw_points(axes, own["d"], own, style, joined=True)
            band = own[own["low"].notna()]
            axes.fill_between(band["d"], band["low"], band["high"], color=style.colour, alpha=0.15, lw=0)
        axes.set_xlabel("d (trained values)")
        axes.set_ylabel(group.score_label)
        lined = {*data["series"][data["d"].isna()], *points["series"][points["series"].duplicated()]}
        legend(canvas, styles, lines=lined)

    yield group.figure("capacity", "Score against d", score_caption(group, data, text), data, (COLUMN, height), draw)


def cost(group: Group) -> Iterator[Figure]:
    """Score against training time and peak memory, a figure for each kind of machine and number of threads."""
    machines: dict[str, list[tuple[Row, Run]]] = defaultdict(list)
    for row, runs in group.scored():
        for run in runs:
            if _costs(group, run) != (None, None):
                machines[machine(group.record(run).provenance)].append((row, run))
    for number, name in enumerate(sorted(machines), 1):
        cells: dict[Row, list[Run]] = defaultdict(list)
        for row, run in machines[name]:
            cells[row].append(run)
        yield _cost_figure(group, list(cells.items()), name, f"machine-{number}" if len(machines) > 1 else "")


def machine(provenance: Provenance) -> str:
    """What costs depend on beside the method: the hardware and the number of threads, as text."""
    hardware = provenance.hardware.model_dump(exclude_none=True) if provenance.hardware else {}
    known = {**hardware, "threads": provenance.threads}
    return json.dumps(known, sort_keys=True)


def _costs(group: Group, run: Run) -> tuple[float | None, float | None]:
    """Seconds of training with the evaluation after each epoch, and peak memory in GiB."""
    found = group.record(run).cost
    memory = found.peak_memory_bytes
    # In records of schema 1 the training time holds the evaluations, which have no time of their own there.
    seconds = None if found.train_seconds is None else found.train_seconds + (found.selection_seconds or 0)
    return seconds, None if memory is None else memory / _GIB


def _cost_figure(group: Group, cells: Sequence[tuple[Row, Sequence[Run]]], machine: str, part: str) -> Figure:
    data = score_data(group, cells)
    costs = [[_costs(group, run) for run in runs] for _, runs in cells]
    data["train_seconds"] = [_mean([seconds for seconds, _ in own]) for own in costs]
    data["peak_memory_gib"] = [_mean([memory for _, memory in own]) for own in costs]
    data["machine"] = machine
    styles = group.row_styles(data["row"])
    hardware = ", ".join(f"{name} {value}" for name, value in json.loads(machine).items())
    text = (
        f"{group.score_label}, against training time (with the evaluation after each epoch) and peak memory, means "
        f"over runs. Costs compare on one machine alone, here: {hardware}; other work on it shows in the times."
    )
    labels = {"train_seconds": "training time / s", "peak_memory_gib": "peak memory / GiB"}
    known = {key: label for key, label in labels.items() if data[key].notna().any()}
    height = 2.2 + LEGEND_LINE * legend_lines(list(styles), PAGE)[1]

    def draw(canvas: Canvas) -> None:
        grid = canvas.subplots(1, len(known), sharey=True, squeeze=False)[0]
        for axes, (key, label) in zip(grid, known.items(), strict=True):
            for _, own in data[data[key].notna()].groupby("row", sort=False):
                _draw_points(axes, own[key], own, styles[own["row"].iloc[0]])
            value_axis(axes.xaxis, data[key].dropna(), decades=0.7)
            axes.set_xlabel(label)
        canvas.axes[0].set_ylabel(group.score_label)
        legend(canvas, styles, lines=())

    caption = score_caption(group, data, text)
    return group.figure("cost", "Score against time and memory", caption, data, (PAGE, height), draw, part)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
