"""How every figure looks: sizes of a printed page, one colour, marker and line per method, axes and legends.

Colours are those of Okabe and Ito, "Color Universal Design" (2008), but for the yellow, which a white page swallows;
markers, fills and lines tell methods apart where colours cannot, as in print without colour.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from textwrap import wrap
from typing import Any

import matplotlib.colors
import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from analysis.cells import Row

Canvas = matplotlib.figure.Figure

COLUMN, PAGE = 3.3, 6.9
"""Widths in inches: one column of a two-column page, and both."""
LEGEND_LINE = 0.16
TITLE_LINE = 0.14
"""Heights in inches of one line of a legend and of a title."""
GREY = "#6E6E6E"
SEQUENTIAL = "cividis"
"""A colour map whose lightness rises evenly, also for colour-blind eyes (Nunez et al. 2018)."""
_MOST_ACROSS = 5
_CHARACTER = 0.056
"""Mean width in inches of a character of 7 pt."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
RC: Any = {
    "text.parse_math": False,  # a name may hold anything
    "figure.dpi": 300,
    "savefig.dpi": 300,
    "font.family": "DejaVu Sans",  # matplotlib's own, so that it is there on every machine
    "font.size": 7,
    "figure.titlesize": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "lines.markeredgewidth": 0.8,
    "errorbar.capsize": 2,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "svg.fonttype": "path",
    "svg.hashsalt": "gpart",  # else the identifiers in an SVG are random
}

Dash = str | tuple[int, tuple[float, ...]]


@dataclass(frozen=True)
class Style:
    """Colour, marker, line and fill of the marker: of a method, and in lighter tints of its several rows."""

    colour: str
    marker: str
    line: Dash
    fill: str = "full"


STYLES: Mapping[str, Style] = {
    "gpart": Style("#0072B2", "o", "-"),
    "lora": Style("#D55E00", "s", (0, (5, 1.5))),
    "unilora": Style("#009E73", "^", (0, (5, 1.5, 1, 1.5))),
    "full": Style("#000000", "D", (0, (1, 1))),
    "bitfit": Style("#CC79A7", "v", (0, (3, 1, 1, 1, 1, 1))),
    "head": Style("#7F7F7F", "x", (0, (2, 2))),
    "vera": Style("#E69F00", "P", (0, (8, 2))),
    "untrained": Style("#56B4E9", "*", (0, (1, 3))),
}
"""Of the methods that have one in every figure."""
_OTHERS = (
    Style("#882255", "X", (0, (7, 1, 1, 1))),
    Style("#999933", "<", (0, (4, 3))),
    Style("#332288", ">", (0, (9, 1, 3, 1))),
    Style("#44AA99", "p", (0, (1, 1, 4, 1))),
    Style("#AA4499", "h", (0, (6, 3, 1, 3))),
    Style("#661100", "d", (0, (3, 3, 1, 1))),
    Style("#117733", "+", (0, (2, 1))),
    Style("#6699CC", "1", (0, (10, 3))),
)
"""Of further methods, in the order of their names: after Tol, "Colour schemes" (2021), muted."""
_FILLS = ("full", "none", "left", "bottom", "right", "top")
_LIGHTEST = 0.55


class Styles:
    """The style of every method of a set of runs."""

    def __init__(self, methods: Iterable[str]) -> None:
        others = sorted(set(methods) - set(STYLES))
        self._styles = {**STYLES, **{name: _OTHERS[i % len(_OTHERS)] for i, name in enumerate(others)}}

    def of(self, rows: Iterable[Row]) -> dict[str, Style]:
        """Styles by the rows' labels; the rows of one method differ in tint and fill, the last as the method itself."""
        by_method: dict[str, list[str]] = {}
        for row in rows:
            labels = by_method.setdefault(row.method, [])
            if row.label not in labels:
                labels.append(row.label)
        found: dict[str, Style] = {}
        for method, labels in by_method.items():
            for place, label in zip(count(len(labels) - 1, -1), labels, strict=False):
                lightness = _LIGHTEST * place / max(1, len(labels) - 1)
                style = self._styles[method]
                found[label] = replace(style, colour=tint(style.colour, lightness), fill=_FILLS[place % len(_FILLS)])
        return found


def tint(colour: str, lightness: float) -> str:
    """A colour mixed with white: 0 leaves it, 1 is white."""
    mixed = np.asarray(matplotlib.colors.to_rgb(colour)) * (1 - lightness) + lightness
    return matplotlib.colors.to_hex(tuple(mixed))


def marks(style: Style, line: bool = False) -> dict[str, Any]:
    """What matplotlib needs to draw a style's marker, and its line if asked for."""
    return {
        "linestyle": style.line if line else "",
        "marker": style.marker,
        "color": style.colour,
        "fillstyle": style.fill,
        "markerfacecoloralt": "white",
    }


def legend_lines(labels: Sequence[str], width: float) -> tuple[int, int]:
    """Columns and lines that a legend with these labels takes in a figure of a width in inches."""
    longest = max(map(len, labels), default=1) * _CHARACTER + 0.55
    columns = max(1, min(len(labels), int(width / longest)))
    return columns, math.ceil(len(labels) / columns)


def legend(
    canvas: Canvas, entries: Mapping[str, Style], extra: Sequence[Line2D] = (), lines: Collection[str] | None = None
) -> None:
    """A legend below the axes, where it hides nothing; with lines for all entries, or for those named in `lines`."""
    handles = [
        Line2D([], [], label=label, **marks(style, lines is None or label in lines)) for label, style in entries.items()
    ]
    handles += list(extra)
    columns, _ = legend_lines([str(handle.get_label()) for handle in handles], canvas.get_figwidth())
    canvas.legend(handles=handles, loc="outside lower center", ncols=columns)


def wrapped(text: str, width: float) -> str:
    """Text in lines that fit into a width in inches; its own lines are kept."""
    return "\n".join(part for line in text.splitlines() for part in wrap(line, int(width / _CHARACTER)))


def engineering(value: float, _position: int | None = None) -> str:
    """A number of a count's axis: 4608 is 4.6k, 22565376 is 22.6M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def plain(value: float, _position: int | None = None) -> str:
    """A number of a logarithmic axis: in full between 0.001 and 10000, else as a power."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:g}"
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    factor = value / 10.0**exponent
    power = f"10{str(exponent).translate(_SUPERSCRIPT)}"
    return power if abs(factor - 1) < 1e-6 else f"{factor:g}·{power}"


def logarithmic(axis: Axis, low: float, high: float, counts: bool = False) -> None:
    """A logarithmic axis from `low` to `high` with a little room."""
    room = max((high / low) ** 0.06, 1.15)
    axes = axis.axes
    is_x = axis is axes.xaxis
    (axes.set_xscale if is_x else axes.set_yscale)("log")
    (axes.set_xlim if is_x else axes.set_ylim)(low / room, high * room)
    tick_decades(axis, low, high, counts)


def tick_decades(axis: Axis, low: float, high: float, counts: bool = False) -> None:
    """Marks of a logarithmic axis: numbers at 1, at 1 and 3, or at 1, 2 and 5 of each power of ten."""
    powers = math.log10(high / low) if high > low else 0
    subs = (1.0,) if powers > 2.5 else (1.0, 3.0) if powers > 1.5 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(engineering if counts else plain))
    axis.set_minor_locator(NullLocator() if powers > 6 else LogLocator(subs="all", numticks=99))
    axis.set_minor_formatter(NullFormatter())


def value_axis(axis: Axis, values: Iterable[float | None], decades: float = 1.0) -> None:
    """A logarithmic axis where positive values span more than `decades` powers of ten; else it stays linear."""
    known = np.asarray([value for value in values if value is not None and math.isfinite(value)])
    if len(known) and known.min() > 0 and math.log10(known.max() / known.min()) > decades:
        logarithmic(axis, float(known.min()), float(known.max()))


def categories(axes: Axes, labels: Sequence[str], width: float) -> None:
    """Labels of rows at 0, 1, ... on an axis of a width in inches: in several lines, or upright where they overlap."""
    lines = [label.replace(", ", "\n") for label in labels]
    longest = max(len(line) for label in lines for line in label.split("\n"))
    upright = longest * _CHARACTER > 0.95 * width / len(labels)
    axes.set_xticks(range(len(labels)), labels=list(labels) if upright else lines, rotation=90 if upright else 0)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.tick_params(axis="x", length=0)


def across(number: int) -> tuple[int, int]:
    """Lines and columns of a grid of panels that leaves few places empty."""
    lines = math.ceil(number / _MOST_ACROSS)
    return lines, math.ceil(number / lines)


def panels(
    canvas: Canvas | SubFigure, titles: Sequence[str], labels: tuple[str, str], share: bool = True
) -> list[Axes]:
    """A grid of panels with titles, row by row, that share both axes or none; `labels` of the axes stand outside."""
    lines, columns = across(len(titles))
    grid = canvas.subplots(lines, columns, squeeze=False, sharex=share, sharey=share).ravel().tolist()
    for place, axes in enumerate(grid):
        axes.set_visible(place < len(titles))
        if place < len(titles):
            axes.set_title(titles[place])
        if place >= len(titles) - columns:
            axes.set_xlabel(labels[0])
            axes.tick_params(labelbottom=True)
        if place % columns == 0:
            axes.set_ylabel(labels[1])
    return grid[: len(titles)]
