"""What a report is made of: tables, figures, and what its page says of every run, from records that are read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.cells import Section, sections
from analysis.plots import Figure, built, groups, named
from analysis.records import Run
from analysis.report.drilldown import details

MOST_FIGURES = 24
"""Figures after which no further column is drawn: a page of more takes minutes to make, and no one looks at them."""


@dataclass(frozen=True)
class Material:
    """What is shown of a folder.

    Attributes:
        runs: all runs, trials of a search among them.
        folder: where they were read, which paths on the page are relative to.
        sections: the tables made from them.
        figures: of the first columns, in the order of the tables.
        undrawn: a sentence on the columns whose figures are left out; nothing where there are none.
        details: what the page says of every run of the tables, as JSON, by id.
    """

    runs: Sequence[Run]
    folder: Path
    sections: Sequence[Section]
    figures: Sequence[Figure]
    undrawn: str
    details: dict[str, str]


def material(runs: Sequence[Run], folder: Path, most: int = MOST_FIGURES) -> Material:
    """Everything that the page and its figures need of runs, column by column.

    Raises:
        InputError: if two runs of a cell have the same configuration and seeds, or a record changed since it was read.
    """
    found = sections(runs)
    figures: list[Figure] = []
    told: dict[str, str] = {}
    columns = drawn = 0
    for columns, group in enumerate(groups(found), 1):
        told |= details(group, folder)
        if len(figures) < most:
            figures += built(group)
            drawn = columns
    return Material(runs, folder, found, named(figures), _undrawn(drawn, columns), told)


def _undrawn(drawn: int, columns: int) -> str:
    return (
        f"Plots are of {drawn} of {columns} columns; `python -m analysis plots` draws those of all."
        if drawn < columns
        else ""
    )
