"""Figures of `diagnostics.landscape`: the training loss around the trained values, and its curvature."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from analysis.plots.figure import Figure, Found, Group, first_of_each_row, frame, ids, runs_per_row
from analysis.plots.style import (
    COLUMN,
    GREY,
    LEGEND_LINE,
    PAGE,
    SEQUENTIAL,
    Canvas,
    Style,
    across,
    categories,
    legend,
    legend_lines,
    marks,
    panels,
    plain,
    value_axis,
)
from analysis.records import Run
from schema.diagnostics import Landscape

_LEVELS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Of the loss above that at the kept values, in nats: one scale for basins of any depth, and for every figure."""
_AXIS = "one unit is the norm of the trained values"


def landscape(group: Group) -> Iterator[Figure]:
    """Up to three figures: surfaces, curves, and eigenvalues of the Hessian."""
    measured = group.measured(Landscape)
    yield from _surfaces(group, measured)
    yield from _curves(group, measured)
    yield from _hessian(group, measured)


def _surfaces(group: Group, measured: Found[Landscape]) -> Iterator[Figure]:
    data = frame(
        [
            {
                "row": row.label,
                "alpha": alpha,
                "beta": beta,
                "loss": loss,
                "excess": None if loss is None or found.loss is None else loss - found.loss,
                "runs": run.id,
            }
            for row, run, found in first_of_each_row(measured)
            for alpha, line in zip(found.surface.alpha, found.surface.loss, strict=True)
            for beta, loss in zip(found.surface.beta, line, strict=True)
        ]
    )
    if data.empty or data["loss"].isna().all():
        return
    labels = list(dict.fromkeys(data["row"]))
    caption = (
        "Mean training loss on a fixed set of training examples around the kept trained values (cross), less the loss "
        f"there, along two random directions normalised by filter (Li et al. 2018); {_AXIS}, for every method alike. "
        "All panels share axes, levels and colours; hatched: not finite. Of each row the run of the lowest seeds; a "
        f"surface shows one pair of directions.{group.unmeasured('landscape')}"
    )

    def draw(canvas: Canvas) -> None:
        _draw_surfaces(canvas, data, labels)

    lines, columns = across(len(labels))
    width = COLUMN if columns < 3 else PAGE
    size = (width, lines * (0.3 + (width - 1.2) / columns) + 0.3)
    yield group.figure("landscape", "Loss surfaces", caption, data, size, draw, "surface")


def _draw_surfaces(canvas: Canvas, data: pd.DataFrame, labels: Sequence[str]) -> None:
    norm = BoundaryNorm(_LEVELS, 256, extend="both")
    grid = panels(canvas, labels, ("direction 1", "direction 2"))
    for axes, label in zip(grid, labels, strict=True):
        surface = data[data["row"] == label].pivot(index="beta", columns="alpha", values="excess")
        axes.set_facecolor("white")
        axes.patch.set_hatch("////")
        axes.patch.set_edgecolor(GREY)
        x, y, z = surface.columns, surface.index, np.ma.masked_invalid(surface.to_numpy(dtype=float))
        axes.contourf(x, y, z, levels=_LEVELS, norm=norm, cmap=SEQUENTIAL, extend="both")
        axes.contour(x, y, z, levels=_LEVELS, colors="white", linewidths=0.3)
        axes.plot(0, 0, "+", color="white", ms=6, mew=1)
        axes.set_aspect("equal")
    bar = canvas.colorbar(ScalarMappable(norm, SEQUENTIAL), ax=grid, shrink=0.9, aspect=25, pad=0.01)
    bar.set_label("loss above the cross")
    bar.set_ticks(_LEVELS, labels=[f"{level:g}" for level in _LEVELS])


def _curves(group: Group, measured: Found[Landscape]) -> Iterator[Figure]:
    panel_names = ("random directions", "start to kept")
    lines = [
        line | {"row": label}
        for label, runs in _by_row(measured).items()
        for panel in panel_names
        for line in _curve(runs, panel)
    ]
    if not lines:
        return
    data = frame(lines)[["panel", "row", "alpha", "n", "mean", "low", "high", "runs"]]
    styles = group.row_styles(data["row"])
    caption = (
        "Mean training loss on a fixed set of training examples along random directions normalised by filter (left; "
        f"{_AXIS}) and on the line from the start (0) through the kept values (1) (right). Lines: mean over directions "
        f"and runs; bands: their range; dashed: the kept values. {runs_per_row(data)}.{group.unmeasured('landscape')}"
    )
    height = 2.3 + LEGEND_LINE * legend_lines(list(styles), PAGE)[1]
    labels = ("position along the direction", "position from start (0) to kept (1)")

    def draw(canvas: Canvas) -> None:
        for axes, name, xlabel in zip(canvas.subplots(1, 2, sharey=True), panel_names, labels, strict=True):
            own = data[data["panel"] == name]
            for label, curve in own.groupby("row", sort=False):
                style = styles[str(label)]
                every = max(1, len(curve) // 6)
                axes.plot(curve["alpha"], curve["mean"], markevery=every, **marks(style, line=True))
                axes.fill_between(curve["alpha"], curve["low"], curve["high"], color=style.colour, alpha=0.15, lw=0)
            value_axis(axes.yaxis, data["mean"], decades=1)
            axes.axvline(0 if name == panel_names[0] else 1, color=GREY, lw=0.6, ls=(0, (4, 2)), zorder=0)
            axes.set_xlabel(xlabel)
        canvas.axes[0].set_ylabel("training loss")
        legend(canvas, styles)

    yield group.figure("landscape", "Loss along lines", caption, data, (PAGE, height), draw, "curves")


def _by_row(measured: Found[Landscape]) -> dict[str, list[tuple[Run, Landscape]]]:
    found: dict[str, list[tuple[Run, Landscape]]] = defaultdict(list)
    for row, run, value in measured:
        found[row.label].append((run, value))
    return found


def _curve(runs: Sequence[tuple[Run, Landscape]], panel: str) -> Iterator[dict[str, Any]]:
    """One line per position: mean and range of the finite losses over directions and runs."""
    values: dict[float, list[tuple[Run, float]]] = defaultdict(list)
    for run, found in runs:
        for curve in found.curves if panel == "random directions" else [found.path]:
            for alpha, loss in zip(curve.alpha, curve.loss, strict=True):
                if loss is not None and math.isfinite(loss):
                    values[alpha].append((run, loss))
    for alpha in sorted(values):
        losses = [loss for _, loss in values[alpha]]
        members = {run.id: run for run, _ in values[alpha]}.values()
        yield {"panel": panel, "alpha": alpha, "n": len(losses), "mean": float(np.mean(losses))} | {
            "low": min(losses),
            "high": max(losses),
            "runs": ids(members),
        }


def _hessian(group: Group, measured: Found[Landscape]) -> Iterator[Figure]:
    data = frame(
        [
            {"row": row.label, "end": end, "rank": rank, "eigenvalue": value, "mean": found.hessian.mean}
            | {"method": found.hessian.method, "runs": run.id}
            for row, run, found in first_of_each_row(measured)
            for end, values in (("largest", found.hessian.largest), ("smallest", found.hessian.smallest))
            for rank, value in enumerate(values, 1)
            if value is not None
        ]
    )
    if data.empty:
        return
    styles = group.row_styles(data["row"])
    caption = (
        "Eigenvalues of the Hessian of the training loss in the trained values, at the kept values: the largest "
        "(filled) and the smallest (hatched), outermost first from left and from right; line: the mean of all. "
        "Methods differ in the scale of their trained values, and so in that of these numbers. The axis is linear "
        f"around 0. Of each row the run of the lowest seeds.{group.unmeasured('landscape')}"
    )

    def draw(canvas: Canvas) -> None:
        _draw_hessian(canvas, data, styles)

    yield group.figure("landscape", "Hessian eigenvalues", caption, data, (PAGE, 2.5), draw, "hessian")


def _draw_hessian(canvas: Canvas, data: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    axes = canvas.subplots()
    for place, (label, style) in enumerate(styles.items()):
        own = data[data["row"] == label].sort_values(["end", "rank"])
        largest, smallest = (own[own["end"] == end]["eigenvalue"] for end in ("largest", "smallest"))
        values = [*largest, *smallest[::-1]]
        step = 0.8 / len(values)
        x = place - 0.4 + step * (np.arange(len(values)) + 0.5)
        axes.bar(x[: len(largest)], values[: len(largest)], 0.9 * step, color=style.colour)
        axes.bar(
            x[len(largest) :], values[len(largest) :], 0.9 * step, color="white", edgecolor=style.colour, hatch="/////"
        )
        mean = own["mean"].iloc[0]
        if pd.notna(mean):
            axes.hlines(mean, place - 0.45, place + 0.45, color="black", lw=0.8)
    sizes = data["eigenvalue"].abs()
    if sizes.max() > 20 * sizes.median() > 0:
        axes.set_yscale("symlog", linthresh=10 ** math.floor(math.log10(sizes.quantile(0.25) or sizes.max())))
        axes.yaxis.set_major_formatter(FuncFormatter(plain))
    axes.axhline(0, color="black", lw=0.5)
    axes.set_ylabel("eigenvalue")
    categories(axes, list(styles), PAGE - 0.5)
    handles = [
        Patch(facecolor=GREY, label="largest"),
        Patch(facecolor="white", edgecolor=GREY, hatch="/////", label="smallest"),
        Line2D([], [], color="black", lw=0.8, label="mean of all"),
    ]
    canvas.legend(handles=handles, loc="outside lower center", ncols=3)
