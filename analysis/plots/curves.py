"""Training loss and the score that selects the epoch, along training."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.plots.figure import Figure, Group, count_of, frame, ids
from analysis.plots.scores import left_out
from analysis.plots.style import LEGEND_LINE, PAGE, Canvas, Style, legend, legend_lines, marks, value_axis
from analysis.records import Run
from analysis.statistics import summarize
from schema.record import History

_LOSS, _SELECTION = "training loss", "selection"
_MARKERS = 6


def curves(group: Group) -> Iterator[Figure]:
    """The course of training: mean over the runs of a row, with the t interval where there are several."""
    cells = group.scored()
    metric = _selection_metric(group, [run for _, runs in cells for run in runs])
    lines = [
        line | {"row": row.label}
        for row, runs in cells
        for panel in (_LOSS, _SELECTION)
        for line in _course(group, runs, panel, metric)
    ]
    if not lines:
        return
    data = frame(lines)[["panel", "row", "epoch", "n", "mean", "low", "high", "runs"]]
    styles = group.row_styles(data["row"])
    label = "loss on the selection split" if metric == "loss" else group.score_label.split(",")[0] + ", selection split"
    caption = (
        f"Mean training loss since the point before, and {label}, along training; mean over runs, "
        f"{count_of(data['n'].tolist(), 'runs per point')}"
        + ("; bands: 95 % Student t interval over seeds." if data["low"].notna().any() else ", so no band.")
        + left_out(group)
    )
    height = 2.2 + LEGEND_LINE * legend_lines(list(styles), PAGE)[1]

    def draw(canvas: Canvas) -> None:
        for axes, name, ylabel in zip(canvas.subplots(1, 2), (_LOSS, _SELECTION), (_LOSS, label), strict=True):
            own = data[data["panel"] == name]
            _draw(axes, own, styles)
            if name == _LOSS or metric == "loss":
                value_axis(axes.yaxis, own["mean"], decades=1.2)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylabel(ylabel)
        legend(canvas, styles)

    yield group.figure("curves", "Training curves", caption, data, (PAGE, height), draw)


def _selection_metric(group: Group, runs: Sequence[Run]) -> str:
    """The primary metric; the loss where epochs are selected by it (math)."""
    selected = [epoch.selection for run in runs for epoch in group.record(run).history.epochs]
    return group.column.metric if any(group.column.metric in scores for scores in selected) else "loss"


def _course(group: Group, runs: Sequence[Run], panel: str, metric: str) -> Iterator[dict[str, object]]:
    """One line per point of training: the epoch, and mean and interval over the runs that have a value there."""
    values: dict[float, list[tuple[float, float, Run]]] = defaultdict(list)
    for run in runs:
        for place, epoch, value in _points(group.record(run).history, panel, metric):
            if value is not None and math.isfinite(value):
                factor = 1 if panel == _LOSS or metric == "loss" else 100
                values[place].append((epoch, factor * value, run))
    for place in sorted(values):
        epochs, found, members = zip(*values[place], strict=True)
        summary = summarize(found)
        yield {
            "panel": panel,
            "epoch": float(np.mean(epochs)),
            "n": summary.n,
            "mean": summary.mean,
            "low": summary.low,
            "high": summary.high,
            "runs": ids(members),
        }


def _points(history: History, panel: str, metric: str) -> Iterator[tuple[float, float, float | None]]:
    """Place, epoch and value; runs are averaged at equal places: optimizer steps of the loss, epochs of the score."""
    if panel == _LOSS:
        return ((step.step, step.epoch, step.loss) for step in history.steps)
    return ((epoch.epoch, epoch.epoch, epoch.selection.get(metric)) for epoch in history.epochs)


def _draw(axes: Axes, data: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    for label, own in data.groupby("row", sort=False):
        style = styles[str(label)]
        every = max(1, len(own) // _MARKERS)
        axes.plot(own["epoch"], own["mean"], markevery=every, **marks(style, line=True))
        band = own[own["low"].notna()]
        axes.fill_between(band["epoch"], band["low"], band["high"], color=style.colour, alpha=0.15, lw=0)
