"""The page: what stands on it, and how it becomes one file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.aggregate_table import aggregate_table
from analysis.aggregates import pools
from analysis.cells import Row, Section
from analysis.differences import differences
from analysis.publication import publication_table
from analysis.records import Run
from analysis.report.drilldown import packed
from analysis.report.grids import Cell, Grid, difference_grid, score_grid
from analysis.report.overview import overview
from analysis.tables import Table, score_table
from analysis.variance_table import decomposed, variance_table
from schema.key import Key

TOGETHER = 50
"""Runs of a cell that the page opens at once."""
_FILES = Path(__file__).parent


class Plot(NamedTuple):
    """A plot: the column that it belongs to, a title, what it shows, its size in inches, and an SVG file."""

    column: Key
    title: str
    caption: str
    size: tuple[float, float]
    svg: bytes

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height on the page, which keep its place until it is loaded."""
        width, height = self.size
        return round(96 * width), round(96 * height)

    @property
    def task(self) -> str:
        """The task, which the filter goes by."""
        return self.column.task

    @property
    def group(self) -> str:
        """The heading that it stands below: its column's key."""
        key = self.column
        return f"{key.task} ({key.source}, {key.subset}), {key.backbone}, {key.protocol}, {key.track}"

    @property
    def address(self) -> str:
        """The drawing as a data URI: as an image it runs no script, and its ids meet no others of the page."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


class Folded(NamedTuple):
    """Tables below a heading that opens them."""

    heading: str
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Part:
    """The tables of one section and the anchor that leads to them.

    Attributes:
        anchor: the end of a link.
        section: the section.
        grids: its scores, and with a baseline the differences.
        folded: further tables.
    """

    anchor: str
    section: Section
    grids: tuple[Grid, ...]
    folded: tuple[Folded, ...]


def page(
    runs: Sequence[Run],
    sections: Sequence[Section],
    baselines: Sequence[Row | None],
    plots: Sequence[Plot],
    details: Mapping[str, str],
    undrawn: str = "",
) -> str:
    """The report as one HTML file that asks for nothing else.

    Args:
        runs: all runs, trials of a search among them.
        sections: the tables made from them.
        baselines: per section, the row that differences are taken to; None: no differences.
        plots: drawn below the tables.
        details: what the page says of every run, as JSON, by id.
        undrawn: a sentence on plots that are left out; nothing where there are none.
    """
    parts = [
        _part(number, section, baseline)
        for number, (section, baseline) in enumerate(zip(sections, baselines, strict=True), start=1)
    ]
    cells = [cell for cell in _cells(parts) if cell["runs"]]
    blocks: list[str] = []
    for cell in cells:
        cell["block"] = len(blocks)
        blocks += (packed([details[run] for run in own]) for own in _blocks(cell["runs"]))
    return _render(
        overview=overview(runs, sections),
        parts=parts,
        plots=plots,
        undrawn=undrawn,
        data={"cells": cells, "together": TOGETHER},
        blocks=blocks,
    )


def _part(number: int, section: Section, baseline: Row | None) -> Part:
    grids = [score_grid(section)]
    if baseline is not None:
        grids.append(difference_grid(section, baseline, differences(section, baseline)))
    above = grids[0].notes
    grids[1:] = [replace(grid, notes=_further(grid.notes, above)) for grid in grids[1:]]
    folded = tuple(part for part in _folded(section, baseline, above) if part.tables)
    return Part(f"table-{number}", section, tuple(grids), folded)


def _folded(section: Section, baseline: Row | None, above: Sequence[str]) -> Iterator[Folded]:
    """The scores as a paper prints them, where that shows more, aggregates, and variances where the runs tell them."""
    yield Folded("As a paper prints it: best cells, averages, published numbers", _once(_printed(section), above))
    yield Folded("Across tasks", tuple(aggregate_table(section, baseline, pool) for pool in pools(section)))
    told = [variance_table(cell) for cell in decomposed(section) if cell.found.identified]
    yield Folded("Which seeds the scores depend on", _once(told))


def _printed(section: Section) -> tuple[Table, ...]:
    table, plain = publication_table(section), score_table(section)
    return () if (table.headings, table.rows, table.marks) == (plain.headings, plain.rows, plain.marks) else (table,)


def _once(tables: Sequence[Table], above: Sequence[str] = ()) -> tuple[Table, ...]:
    """The tables, each without the notes that stand above already."""
    shown, found = list(above), []
    for table in tables:
        found.append(replace(table, notes=_further(table.notes, shown)))
        shown += table.notes
    return tuple(found)


def _further(notes: Sequence[str], above: Sequence[str]) -> tuple[str, ...]:
    """Notes that do not stand above already."""
    return tuple(note for note in notes if note not in above)


def _cells(parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
    """What the script says of the cells with a run: their numbers, and the ids of their runs."""
    for part in parts:
        grids = [{line.label: line.cells for line in grid.lines} for grid in part.grids]
        for row in part.section.rows:
            lines = [found[row.label] for found in grids if row.label in found]
            yield from (_cell(row, *shown) for shown in zip(part.section.columns, *lines, strict=True))


def _blocks(runs: Sequence[str]) -> list[Sequence[str]]:
    """The runs of a cell in blocks that are opened one at a time."""
    return [runs[start : start + TOGETHER] for start in range(0, len(runs), TOGETHER)]


def _cell(row: Row, column: Key, *shown: Cell) -> dict[str, Any]:
    about = [column.task, column.metric, column.source, column.subset, column.backbone, column.protocol, column.track]
    numbers = [number for cell in shown for number in cell.numbers]
    return {"about": ", ".join(about), "numbers": numbers, "row": row.label, "runs": shown[0].runs}


def _render(**content: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(_FILES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    own = {name: (_FILES / f"report.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    return environment.get_template("template.html").render(
        **content,
        style=Markup(own["css"]),
        script=Markup(own["js"]),
        style_digest=_digest(own["css"]),
        script_digest=_digest(own["js"]),
    )


def _digest(text: str) -> str:
    """The hash by which the page's policy allows its own style and script and nothing else."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
