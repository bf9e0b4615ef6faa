"""Figures of `diagnostics.isometry`: how each method's map from trained values to weight changes treats distances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.cells import Row
from analysis.plots.figure import Figure, Group, frame, runs_per_row
from analysis.plots.style import (
    COLUMN,
    GREY,
    LEGEND_LINE,
    PAGE,
    Canvas,
    Style,
    across,
    categories,
    legend,
    legend_lines,
    logarithmic,
    marks,
    panels,
    value_axis,
)
from analysis.records import Run
from schema.diagnostics import Isometry, Occupancy

_FLAT = 1e-3
"""Values whose logarithms (to base 10) span less are drawn as a line: their density would be a spike of rounding."""
_BINS = 40

Counted = TypeVar("Counted")
Bins = tuple[Sequence[float | None], Sequence[float | None], Sequence[int]]
"""Left and right ends of bins, and how many are in each."""


def ratios(group: Group) -> Iterator[Figure]:
    """Distance ratios of all methods side by side, on random and on trained pairs."""
    data = frame(
        [
            {"pairs": pairs, "row": row.label, "ratio": value, "runs": run.id}
            for row, run, found in group.measured(Isometry)
            for pairs, ratios in (("random", found.ratios.random), ("trained", found.ratios.trained))
            for value in ratios.values
            if value is not None
        ]
    )
    if data.empty:
        return
    styles = group.row_styles(data["row"])
    labels = list(styles)
    caption = (
        "Distance of two weight changes over the distance of the two points of trained values that give them: random "
        "pairs on the sphere around the start whose radius training covered, and pairs of snapshots of training. An "
        "isometry has 1 everywhere (dashed). Violins: density; marker: median; thin line: all values; thick line: all "
        f"values equal within {_FLAT:g} powers of ten. {runs_per_row(data)}.{group.unmeasured('isometry')}"
    )

    def draw(canvas: Canvas) -> None:
        for axes, pairs in zip(canvas.subplots(2, 1, sharex=True, sharey=True), ("random", "trained"), strict=True):
            own = data[data["pairs"] == pairs]
            value_axis(axes.yaxis, [*data["ratio"], 1.0], decades=1)
            for place, label in enumerate(labels):
                _violin(axes, place, own.loc[own["row"] == label, "ratio"].to_numpy(), styles[label])
            axes.axhline(1, color=GREY, lw=0.7, ls=(0, (4, 2)), zorder=0)
            axes.set_title(f"{pairs} pairs")
            axes.set_ylabel("distance ratio")
            axes.tick_params(axis="x", length=0)
        categories(canvas.axes[1], labels, PAGE - 0.5)

    yield group.figure("ratios", "Distance ratios", caption, data, (PAGE, 3.9), draw)


def _violin(axes: Axes, place: int, values: np.ndarray, style: Style) -> None:
    """A violin of the values' logarithms, so that it has the same shape on a logarithmic axis as on its own."""
    if not len(values):
        return
    log = axes.get_yscale() == "log"
    shown = np.log10(values) if log else values
    if values.max() <= values.min() * 10**_FLAT or len(values) < 3:
        axes.hlines(np.median(values), place - 0.38, place + 0.38, color=style.colour, lw=2.2)
    else:
        grid = np.linspace(shown.min(), shown.max(), 200)
        density = matplotlib.mlab.GaussianKDE(shown).evaluate(grid)
        half, heights = 0.38 * density / density.max(), 10**grid if log else grid
        axes.fill_betweenx(heights, place - half, place + half, color=style.colour, alpha=0.35, lw=0)
        x, y = np.r_[place - half, (place + half)[::-1]], np.r_[heights, heights[::-1]]
        axes.fill(x, y, facecolor="none", edgecolor=style.colour, lw=0.8)
    axes.vlines(place, values.min(), values.max(), color=style.colour, lw=0.8)
    axes.plot(place, np.median(values), **marks(style))


def jacobian(group: Group) -> Iterator[Figure]:
    """Extreme singular values and condition number of the Jacobian along training."""
    names = ("point", "step", "largest", "smallest_nonzero", "condition_complement", "null_directions", "method")
    data = frame(
        [
            {"row": row.label, **{name: getattr(point, name) for name in names}, "runs": run.id}
            for row, run, found in group.measured(Isometry)
            for point in found.jacobian
        ]
    )
    if data.empty:
        return
    styles = group.row_styles(data["row"])
    caption = (
        "Extreme singular values of the Jacobian of the map from trained values to weight changes, and their ratio, "
        "on the complement of the directions that change nothing; 1 and 1 for an isometry. Lines are shifted sideways "
        "a little, so that equal ones stay visible. One line per run; "
        f"{runs_per_row(data)}.{group.unmeasured('isometry')}"
    )
    height = 2.3 + LEGEND_LINE * legend_lines(list(styles), PAGE)[1]

    def draw(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2)
        _along(left, data, ["largest", "smallest_nonzero"], styles)
        left.set_ylabel("largest and smallest singular value")
        _along(right, data, ["condition_complement"], styles)
        right.set_ylabel("condition number")
        legend(canvas, styles)

    yield group.figure("jacobian", "Singular values of the Jacobian", caption, data, (PAGE, height), draw)


def _along(axes: Axes, data: pd.DataFrame, keys: Sequence[str], styles: Mapping[str, Style]) -> None:
    shift = 0.008 * max(1, data["step"].max())
    known = data[list(keys)].to_numpy(dtype=np.float64)
    known = known[known > 0]
    if len(known):
        logarithmic(axes.yaxis, min(known.min(), 0.8), max(known.max(), 1.25))
    for place, (label, style) in enumerate(styles.items()):
        for _, own in data[data["row"] == label].groupby("runs", sort=False):
            own = own.sort_values("step")
            for key in keys:
                x = own["step"] + shift * (place - (len(styles) - 1) / 2)
                axes.plot(x, own[key], **marks(style, line=True))
    axes.set_xlabel("optimizer step")


def theta(group: Group) -> Iterator[Figure]:
    """Histograms of the trained values, a panel per row."""
    chosen = [(row, run, found.trained_values) for row, run, found in group.measured(Isometry)]
    data = _histograms(chosen, lambda values: (values.edges[:-1], values.edges[1:], values.counts))
    if data.empty:
        return
    moments = {run.id: values for _, run, values in chosen}
    for name in ("mean", "std"):
        data[name] = [getattr(moments[run], name) for run in data["runs"]]
    styles = group.row_styles(data["row"])
    caption = (
        "Trained values of the method at the kept epoch, as densities; dashed: normal density of the same mean and "
        f"standard deviation. One outline per run; {runs_per_row(data)}.{group.unmeasured('isometry')}"
    )

    def one(axes: Axes, own: pd.DataFrame, style: Style) -> None:
        width = own["right"] - own["left"]
        density = own["count"] / (own["count"].sum() * width)
        _stairs(axes, own, density, style)
        mean, std = own["mean"].iloc[0], own["std"].iloc[0]
        if std:
            x = np.linspace(own["left"].min(), own["right"].max(), 200)
            normal = np.exp(-(((x - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))
            axes.plot(x, normal, color="black", ls=(0, (3, 2)), lw=0.7)

    yield _histogram_figure(group, "theta", "Trained values", caption, data, styles, one, ("trained value", "density"))


def occupancy(group: Group) -> Iterator[Figure]:
    """Histograms of the group sizes of methods that partition weights, a panel per row."""
    chosen = [(row, run, found.occupancy) for row, run, found in group.measured(Isometry) if found.occupancy]
    data = _histograms(chosen, _size_bins)
    if data.empty:
        return
    groups = {run.id: found for _, run, found in chosen}
    data["mean"] = [groups[run].mean for run in data["runs"]]
    data["dead"] = [groups[run].dead for run in data["runs"]]
    styles = group.row_styles(data["row"])
    dead = sorted(set(data["dead"]))
    caption = (
        "Sizes of the groups of weights that share one trained value; dashed: mean size. Groups without a weight: "
        f"{dead[0] if len(dead) == 1 else f'{dead[0]} to {dead[-1]}'} per run. One outline per "
        f"run; {runs_per_row(data)}."
    )

    def one(axes: Axes, own: pd.DataFrame, style: Style) -> None:
        _stairs(axes, own, own["count"], style)
        axes.axvline(own["mean"].iloc[0], color="black", ls=(0, (3, 2)), lw=0.7)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        if len(own) == 1:  # all groups of one size: a bar, not a wall
            axes.set_xlim(own["left"].iloc[0] - 3, own["right"].iloc[0] + 3)

    labels = ("weights in a group", "groups")
    yield _histogram_figure(group, "occupancy", "Group sizes", caption, data, styles, one, labels)


def _size_bins(found: Occupancy) -> Bins:
    """Left and right ends and counts of bins of as many whole sizes each; a bin per size where they are few."""
    sizes, counts = np.asarray(found.sizes), np.asarray(found.counts)
    span = int(np.ptp(sizes)) + 1
    width = -(-span // _BINS)
    edges = sizes.min() - 0.5 + width * np.arange(-(-span // width) + 1)
    heights, _ = np.histogram(sizes, edges, weights=counts)
    return edges[:-1].tolist(), edges[1:].tolist(), heights.astype(int).tolist()


def _stairs(axes: Axes, own: pd.DataFrame, heights: pd.Series, style: Style) -> None:
    edges = [*own["left"], own["right"].iloc[-1]]
    axes.stairs(heights, edges, color=style.colour, lw=0.9)
    axes.stairs(heights, edges, color=style.colour, alpha=0.25, fill=True)


def _histograms(chosen: Iterable[tuple[Row, Run, Counted]], bins: Callable[[Counted], Bins]) -> pd.DataFrame:
    """A line per bin of every run: row, left, right, count, runs."""
    lines = []
    for row, run, counted in chosen:
        for left, right, count in zip(*bins(counted), strict=True):
            lines.append({"row": row.label, "left": left, "right": right, "count": count, "runs": run.id})
    return frame(lines)


def _histogram_figure(
    group: Group,
    kind: str,
    what: str,
    caption: str,
    data: pd.DataFrame,
    styles: Mapping[str, Style],
    one: Callable[[Axes, pd.DataFrame, Style], None],
    axis_labels: tuple[str, str],
) -> Figure:
    """A panel per row, in which `one` draws each run."""

    def draw(canvas: Canvas) -> None:
        for axes, label in zip(panels(canvas, list(styles), axis_labels, share=False), styles, strict=True):
            for _, own in data[data["row"] == label].groupby("runs", sort=False):
                one(axes, own, styles[label])

    lines, columns = across(len(styles))
    width = COLUMN if columns < 3 else PAGE
    return group.figure(kind, what, caption, data, (width, 1.6 * lines), draw)
