"""Scores by seed, and the spread of scores that each kind of seed brings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from analysis.plots.figure import Figure, Group, frame
from analysis.plots.scores import score_caption, score_data
from analysis.plots.style import (
    COLUMN,
    GREY,
    LEGEND_LINE,
    PAGE,
    Canvas,
    Style,
    categories,
    legend,
    legend_lines,
    marks,
    value_axis,
)
from analysis.variance import SOURCES, decompose


def seeds(group: Group) -> Iterator[Figure]:
    """Up to two figures: the score of every run, and the spread that each seed brings."""
    yield from _strip(group)
    yield from _spread(group)


def _strip(group: Group) -> Iterator[Figure]:
    cells = group.scored()
    if all(len(runs) < 2 for _, runs in cells):
        return
    summary = score_data(group, cells)[["row", "n", "score", "low", "high", "interval"]]
    single = frame(
        {"row": row.label, "seeds": json.dumps(run.seeds, sort_keys=True), "score": 100 * run.score, "runs": run.id}
        for row, runs in cells
        for run in runs
        if run.score is not None
    )
    data = single.merge(summary.rename(columns={"score": "mean"}), on="row")
    styles = group.row_styles(data["row"])
    width = PAGE if len(cells) > 5 else COLUMN
    caption = score_caption(group, data, f"{group.score_label}, of every run; bar: mean.")

    def draw(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for place, (label, own) in enumerate(data.groupby("row", sort=False)):
            style, first = styles[str(label)], own.iloc[0]
            offsets = np.linspace(-0.2, 0.2, len(own)) if len(own) > 1 else [0.0]
            axes.plot(place + np.asarray(offsets), own["score"], **marks(style))
            axes.hlines(first["mean"], place - 0.32, place + 0.32, color=style.colour, lw=1.6)
            if pd.notna(first["low"]):
                axes.vlines(place + 0.4, first["low"], first["high"], color=GREY, lw=0.8)
        categories(axes, list(dict.fromkeys(data["row"])), width - 0.5)
        axes.set_ylabel(group.score_label)

    yield group.figure("seeds", "Scores by seed", caption, data, (width, 2.6), draw)


def _spread(group: Group) -> Iterator[Figure]:
    """Standard deviations by source of the rows whose runs tell the sources apart."""
    found = {row.label: decompose(runs) for row, runs in group.scored()}
    data = frame(
        {"row": label, "source": part.source, "n": len(part.runs), "levels": part.levels, "freedom": part.freedom}
        | {
            name: _deviation(getattr(part, value))
            for name, value in (("std", "variance"), ("low", "low"), ("high", "high"))
        }
        | {"share": part.share, "runs": " ".join(part.runs)}
        for label, decomposition in found.items()
        for part in decomposition.components
        if part.variance is not None
    )
    if data.empty:
        return
    styles = group.row_styles(data["row"])
    caption = (
        f"{group.score_label}: sample standard deviation over runs that differ in one seed alone, with its 95 % "
        "interval (chi squared, of a variance of normal effects); partition: a method's fixed random projection, init: "
        "trainable initial values, head: the new head, data: order and dropout, split: selection split and subset. "
        "Sources without a point are not told apart by these runs."
    )
    height = 2.3 + LEGEND_LINE * legend_lines(list(styles), PAGE)[1]

    def draw(canvas: Canvas) -> None:
        _draw_spread(canvas, data, styles)
        canvas.axes[0].set_ylabel("standard deviation x 100")

    yield group.figure("seeds", "Spread by source of randomness", caption, data, (PAGE, height), draw, "variance")


def _deviation(variance: float | None) -> float | None:
    """The standard deviation x 100 of a variance of scores as fractions."""
    return None if variance is None else 100 * float(np.sqrt(variance))


def _draw_spread(canvas: Canvas, data: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    axes = canvas.subplots()
    sources = [source for source in SOURCES if source in set(data["source"])]
    for place, (label, style) in enumerate(styles.items()):
        own = data[data["row"] == label]
        x = np.array([sources.index(source) for source in own["source"]]) + 0.6 * ((place + 0.5) / len(styles) - 0.5)
        axes.vlines(x, own["low"], own["high"], color=style.colour, lw=0.8)
        axes.plot(x, own["std"], **marks(style))
    axes.set_ylim(bottom=0)
    value_axis(axes.yaxis, data[["low", "std", "high"]].to_numpy().ravel())
    categories(axes, sources, PAGE - 0.5)
    legend(canvas, styles, lines=())
