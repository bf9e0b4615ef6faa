"""A figure, the runs that it may show, and its bytes in a format."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import groupby
from typing import Any, Literal, TypeVar

import matplotlib
import pandas as pd

from analysis.cells import Row, Section
from analysis.plots.style import RC, TITLE_LINE, Canvas, Style, Styles, wrapped
from analysis.records import Run
from schema.diagnostics import Measured, NotMeasured
from schema.key import Key
from schema.record import BROKEN, Record

FORMATS = ("png", "pdf", "svg")
# Whatever would name the time or the program is left out, so that bytes depend on the records alone.
_METADATA: Mapping[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
MOST_ROWS = 24
"""Rows of a figure: a legend, or panels, of more could not be read."""
_METRICS = {"matthews_correlation": "Matthews correlation", "pearson": "Pearson", "spearman": "Spearman", "f1": "F1"}

_LONGEST = 200
"""Characters of a figure's name that its file has."""

Diagnostic = TypeVar("Diagnostic", bound=Measured)
Found = list[tuple[Row, Run, Diagnostic]]
"""Runs with their rows and what a diagnostic measured in them."""


@dataclass(frozen=True)
class Figure:
    """A figure that can be drawn.

    Attributes:
        kind: one of `KINDS`.
        name: its file's name without a suffix; unique among the figures of a folder.
        title: what is shown, and of which task, data, backbone, protocol and track.
        caption: what a reader needs: units, n, intervals, what was left out.
        data: every number that is drawn, with the ids of the runs behind it.
        column: the key that all its runs share.
        width: inches.
        height: inches.
        draw: draws it on an empty canvas of that size.
    """

    kind: str
    name: str
    title: str
    caption: str
    data: pd.DataFrame
    column: Key
    width: float
    height: float
    draw: Callable[[Canvas], None]

    def canvas(self) -> Canvas:
        """The figure drawn, to look into; `render` gives its bytes."""
        canvas = Canvas(figsize=(self.width, self.height), layout="constrained")
        canvas.suptitle(wrapped(_heading(self.column), self.width))
        self.draw(canvas)
        return canvas

    @cached_property
    def svg(self) -> bytes:
        """The figure as an SVG file, kept: it stands in a folder of figures and on the page."""
        return _drawn(self, "svg")


def render(figure: Figure, format: str) -> bytes:
    """The bytes of a figure in one of `FORMATS`; the same records give the same bytes.

    Raises:
        KeyError: if the format is unknown.
    """
    return figure.svg if format == "svg" else _drawn(figure, format)


def _drawn(figure: Figure, format: str) -> bytes:
    metadata = _METADATA[format]
    buffer = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's own settings would show
        matplotlib.rcParams.update(RC)
        figure.canvas().savefig(buffer, format=format, metadata=metadata)
    return buffer.getvalue()


@dataclass
class Group:
    """The runs that one figure may show: those of one section and one of its columns.

    Attributes:
        section: the section.
        column: the column.
        styles: of all methods of the folder.
    """

    section: Section
    column: Key
    styles: Styles
    _records: dict[str, Record] = field(default_factory=dict)

    def cells(self) -> list[tuple[Row, tuple[Run, ...]]]:
        """The rows that figures show here, with their runs in the order of their seeds."""
        return self._cells

    @cached_property
    def _cells(self) -> list[tuple[Row, tuple[Run, ...]]]:
        return [
            (
                row,
                tuple(
                    sorted(self.section.cells[row, self.column], key=lambda run: (sorted(run.seeds.items()), run.id))
                ),
            )
            for row in self.section.rows
            if row in self._shown
        ]

    @cached_property
    def _rows(self) -> list[Row]:
        """The rows that have runs here."""
        return [row for row in self.section.rows if (row, self.column) in self.section.cells]

    @cached_property
    def _shown(self) -> set[Row]:
        """Of too many rows those that come first where each method's best row precedes any second best, and so on."""
        if len(self._rows) <= MOST_ROWS:
            return set(self._rows)
        ranked: list[tuple[int, float, Row]] = []
        for _, rows in groupby(self._rows, key=lambda row: row.method):
            means = sorted(((self._mean(row), row) for row in rows), key=lambda pair: -pair[0])
            ranked += [(rank, -mean, row) for rank, (mean, row) in enumerate(means)]
        return {row for *_, row in sorted(ranked, key=lambda entry: entry[:2])[:MOST_ROWS]}

    def _mean(self, row: Row) -> float:
        scores = [run.score for run in self.section.cells[row, self.column] if run.score is not None]
        return sum(scores) / len(scores) if scores else -math.inf

    def _left_out(self) -> str:
        """A sentence on the rows that no figure shows; nothing where all are shown."""
        if len(self._rows) <= MOST_ROWS:
            return ""
        return (
            f" Shown: {MOST_ROWS} of {len(self._rows):,} rows, of every method those of the highest means; "
            "the tables have all."
        )

    def scored(self) -> list[tuple[Row, tuple[Run, ...]]]:
        """The rows that have runs with a score here, with these."""
        kept = [(row, tuple(run for run in members if run.state == "ok")) for row, members in self.cells()]
        return [(row, members) for row, members in kept if members]

    def record(self, run: Run) -> Record:
        """A run's whole record, read once."""
        if run.id not in self._records:
            self._records[run.id] = run.record()
        return self._records[run.id]

    def forget(self) -> None:
        """Let go of the records: figures that were made hold their own numbers."""
        self._records.clear()

    def measured(self, kind: type[Diagnostic]) -> Found[Diagnostic]:
        """Runs with a measured diagnostic of this kind, and what it is; none whose round trip broke."""
        return [
            (row, run, value)
            for row, run in self._unbroken()
            for value in self._diagnostics(run)
            if isinstance(value, kind)
        ]

    def unmeasured(self, name: Literal["isometry", "landscape"]) -> str:
        """A sentence on the rows whose diagnostic of this name gave nothing, or of a model whose round trip broke."""
        found = [(row, getattr(self.record(run).diagnostics, name)) for row, run in self._unbroken()]
        notes = [f"{row.label} ({v.status}: {v.reason})" for row, v in found if isinstance(v, NotMeasured)]
        broken = [(row, run) for row, members in self.cells() for run in members if run.outcome == BROKEN]
        notes += [f"{row.label} ({run.outcome}: {run.reason})" for row, run in broken]
        return f" Without: {'; '.join(dict.fromkeys(notes))}." if notes else ""

    def _unbroken(self) -> list[tuple[Row, Run]]:
        return [(row, run) for row, members in self.cells() for run in members if run.outcome != BROKEN]

    def _diagnostics(self, run: Run) -> tuple[Measured | NotMeasured | None, ...]:
        found = self.record(run).diagnostics
        return found.isometry, found.landscape

    def row_styles(self, labels: Iterable[str]) -> dict[str, Style]:
        """Styles by these labels of the section's rows, in their order; one row of a method has the method's own."""
        wanted = dict.fromkeys(labels)
        styles = self.styles.of(row for row in self.section.rows if row.label in wanted)
        return {label: styles[label] for label in wanted}

    def series_styles(self, labels: Iterable[str]) -> dict[str, Style]:
        """Styles by these labels of rows without their capacity, or of whole rows, in their order."""
        styles = self.styles.of(self.section.rows) | self.styles.of(map(series, self.section.rows))
        return {label: styles[label] for label in dict.fromkeys(labels)}

    @property
    def score_label(self) -> str:
        """The axis label of scores x 100."""
        metric = _METRICS.get(self.column.metric, self.column.metric)
        return f"{metric} x 100, {self.column.split} split"

    def figure(
        self,
        kind: str,
        what: str,
        caption: str,
        data: pd.DataFrame,
        size: tuple[float, float],
        draw: Callable[[Canvas], None],
        part: str = "",
    ) -> Figure:
        """A figure of this group; `size` is without the title, `part` tells the figures of one kind apart."""
        width, height = size
        heading = _heading(self.column)
        lines = wrapped(heading, width).count("\n") + 1
        return Figure(
            kind,
            _name([kind, part, *_key(self.column)]),
            f"{what}: {' '.join(heading.split())}",
            caption + self._left_out(),
            data,
            self.column,
            width,
            height + lines * TITLE_LINE,
            draw,
        )


def series(row: Row) -> Row:
    """A row without its capacity: what a line over capacities joins."""
    return row._replace(capacity=None)


def ids(runs: Iterable[Run]) -> str:
    """Run ids as data has them."""
    return " ".join(run.id for run in runs)


def frame(lines: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Data of lines whose missing numbers are None; a column of such numbers becomes one of floats with NaN."""
    data = pd.DataFrame(list(lines))
    for name in data.columns:
        if pd.api.types.is_object_dtype(data[name]):
            data[name] = pd.to_numeric(data[name])
    return data


def first_of_each_row(measured: Found[Diagnostic]) -> Found[Diagnostic]:
    """The first run of each row, which is that of the lowest seeds."""
    return list({row: (row, run, value) for row, run, value in reversed(measured)}.values())[::-1]


def runs_per_row(data: pd.DataFrame) -> str:
    """How many runs stand behind the rows of data that has a line or more for each run."""
    return count_of(data.groupby("row")["runs"].nunique().tolist())


def count_of(numbers: Sequence[int], noun: str = "runs per row") -> str:
    """How many runs a caption speaks of: `n = 3 runs per row`, `n = 1 to 3 runs per row`."""
    low, high = min(numbers), max(numbers)
    return f"n = {low} {noun}" if low == high else f"n = {low} to {high} {noun}"


def _key(column: Key) -> list[str]:
    names = [column.backbone, column.protocol, column.track, column.task, column.source, column.subset, column.metric]
    return [name for name in names if name != "full"]


def _heading(column: Key) -> str:
    return (
        f"{column.task} ({column.source}, {column.subset})\n"
        f"{column.backbone}, protocol {column.protocol}, track {column.track}"
    )


def _name(parts: Iterable[str]) -> str:
    """A file's name that every system takes, of at most 255 bytes with its ending."""
    name = "--".join(re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-") for part in parts if part)
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}--{sha256(name.encode()).hexdigest()[:12]}"
