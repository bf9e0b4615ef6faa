"""Singular values of the kept weight change, of `diagnostics.isometry`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.plots.figure import Figure, Group, first_of_each_row, frame
from analysis.plots.style import (
    PAGE,
    SEQUENTIAL,
    Canvas,
    Style,
    across,
    categories,
    logarithmic,
    marks,
    panels,
    value_axis,
)
from schema.diagnostics import Isometry, LayerUpdate

_ZERO = 1e-6
"""Singular values below this share of the largest are rounding: float32 weights hold about seven digits."""


def spectra(group: Group) -> Iterator[Figure]:
    """Singular values of the weight change, layer by layer, and the stable ranks of all methods side by side."""
    chosen = first_of_each_row(group.measured(Isometry))
    data = frame(
        [
            {"row": row.label, "layer": layer.name, "depth": depth, "index": index, "singular_value": value}
            | {"stable_rank": layer.stable_rank, "runs": run.id}
            for row, run, found in chosen
            for depth, layer in enumerate(_matrices(found))
            for index, value in enumerate(layer.singular_values, 1)
            if value is not None
        ]
    )
    if data.empty:
        return
    styles = group.row_styles(data["row"])
    labels = list(styles)
    lines, _ = across(len(labels))
    caption = (
        "Largest singular values of the kept weight change, a line per adapted matrix from the first (dark) to the "
        f"last (light); those below {_ZERO:g} of a matrix's largest are not drawn. Below: stable rank (squared "
        "Frobenius over squared spectral norm) of each matrix, first to last from left to right. Of each row the run "
        f"of the lowest seeds.{group.unmeasured('isometry')}"
    )

    def draw(canvas: Canvas) -> None:
        parts: Any = canvas.subfigures(2, 1, height_ratios=[1.5 * lines, 1.7])
        _draw_spectra(parts[0], data, labels)
        _draw_stable_ranks(parts[1].subplots(), data, labels, styles)

    size = (PAGE, 1.5 * lines + 1.7)
    yield group.figure("spectra", "Spectra of the weight change", caption, data, size, draw)


def _matrices(found: Isometry) -> list[LayerUpdate]:
    return [layer for layer in found.update.layers if len(layer.shape) > 1]


def _draw_spectra(canvas: Any, data: pd.DataFrame, labels: Sequence[str]) -> None:
    """A panel per row; `canvas` is a figure or a part of one."""
    largest = data.groupby(["row", "layer"], sort=False)["singular_value"].transform("max")
    shown = data[(data["singular_value"] > _ZERO * largest) & (largest > 0)]
    grid = panels(canvas, labels, ("index", "singular value"))
    for axes, label in zip(grid, labels, strict=True):
        own = shown[shown["row"] == label]
        colours = matplotlib.colormaps[SEQUENTIAL](np.linspace(0, 0.85, own["depth"].max() + 1 if len(own) else 1))
        for depth, layer in own.groupby("depth"):
            axes.plot(
                layer["index"], layer["singular_value"], color=colours[int(str(depth))], lw=0.8, marker=".", ms=2.5
            )
    grid[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if len(shown):
        logarithmic(grid[0].yaxis, shown["singular_value"].min(), shown["singular_value"].max())


def _draw_stable_ranks(axes: Axes, data: pd.DataFrame, labels: Sequence[str], styles: Mapping[str, Style]) -> None:
    ranks = data.dropna(subset=["stable_rank"]).drop_duplicates(["row", "layer"])
    for place, label in enumerate(labels):
        own = ranks[ranks["row"] == label]
        x = place + (np.linspace(-0.34, 0.34, len(own)) if len(own) > 1 else np.zeros(len(own)))
        axes.plot(x, own["stable_rank"], lw=0.6, **marks(styles[label]) | {"markersize": 3})
    value_axis(axes.yaxis, ranks["stable_rank"], decades=0.9)
    axes.set_ylabel("stable rank")
    categories(axes, labels, PAGE - 0.5)
