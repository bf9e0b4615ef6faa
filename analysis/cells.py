"""Which runs may stand in one cell: one column per key of a record, one row per method and settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from analysis.records import Run, Value
from schema.identity import VERSION as IDENTITY
from schema.key import Key

OLDER = "‡"
"""Marks rows of an older identity."""

_SHOWN = 12
"""Characters of a text value (a digest, a pattern) that a row's label shows."""


class Row(NamedTuple):
    """A method with its capacity and those of its settings that differ between its runs of one column.

    Runs of two versions of the identity never share one: what the older did not cover may differ between them.
    """

    method: str
    capacity: tuple[str, Value] | None
    differing: tuple[tuple[str, Value], ...]
    identity: int = IDENTITY

    @property
    def label(self) -> str:
        """The row's name: `gpart, d=4608, learning_rate=0.005`."""
        parts = [f"{self.capacity[0]}={self.capacity[1]}"] if self.capacity else []
        for key, value in self.differing:
            name = key.removeprefix("recipe.").removeprefix("method.config.")
            shown = value[:_SHOWN] if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else value
            parts.append(f"{name}={shown}")
        return ", ".join(dict.fromkeys([self.method, *parts]))

    @property
    def mark(self) -> str:
        """The sign of a row whose runs have an older identity, which tables explain; else nothing."""
        return OLDER if self.identity < IDENTITY else ""

    @property
    def title(self) -> str:
        """The label with its mark."""
        return f"{self.label} {self.mark}".rstrip()

    def _order(self) -> tuple[str, float, str]:
        size = self.capacity[1] if self.capacity else 0
        return self.method, float(size) if isinstance(size, (int, float)) else 0.0, self.label


@dataclass(frozen=True)
class Section:
    """One table: the columns that share backbone, protocol and track.

    Attributes:
        backbone: the backbone's name.
        protocol: the protocol's name.
        track: the track's name.
        columns: sorted.
        rows: sorted.
        cells: the runs of every pair of row and column that has any, sorted by id.
    """

    backbone: str
    protocol: str
    track: str
    columns: tuple[Key, ...]
    rows: tuple[Row, ...]
    cells: dict[tuple[Row, Key], tuple[Run, ...]]

    def runs(self, row: Row | None = None, column: Key | None = None) -> list[Run]:
        """The runs of a row, of a column, of the cell where they meet, or all."""
        rows = self.rows if row is None else (row,)
        columns = self.columns if column is None else (column,)
        return [run for place in product(rows, columns) for run in self.cells.get(place, ())]

    def grid(self) -> Iterator[tuple[Row, Key, tuple[Run, ...]]]:
        """Every cell, row by row, the missing ones without runs."""
        for row, column in product(self.rows, self.columns):
            yield row, column, self.cells.get((row, column), ())


def sections(runs: Iterable[Run]) -> list[Section]:
    """Group runs into tables; protocols, tracks and backbones never share one. Trials of a search are left out."""
    grouped: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    for run in runs:
        if not run.is_trial:
            grouped[run.column.backbone, run.column.protocol, run.column.track].append(run)
    return [_section(grouped[name]) for name in sorted(grouped)]


def _section(runs: Sequence[Run]) -> Section:
    by_method: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in runs:
        by_method[run.method, run.identity].append(run)
    cells: dict[tuple[Row, Key], list[Run]] = defaultdict(list)
    for (method, identity), own in by_method.items():
        keys = _differing_keys(own)
        version: list[tuple[str, Value]] = [("identity", identity)] if (method, IDENTITY) in by_method else []
        for run in own:
            differing = [(key, run.settings[key]) for key in keys if run.settings.get(key) is not None]
            shown = tuple(differing + version if identity < IDENTITY else differing)
            cells[Row(method, run.capacity, shown, identity), run.column].append(run)
    first = runs[0].column
    return Section(
        first.backbone,
        first.protocol,
        first.track,
        columns=tuple(sorted({column for _, column in cells}, key=lambda column: column.values)),
        rows=tuple(sorted({row for row, _ in cells}, key=Row._order)),
        cells={place: tuple(sorted(members, key=lambda run: run.id)) for place, members in cells.items()},
    )


def _differing_keys(runs: Sequence[Run]) -> list[str]:
    """The settings, the capacity apart, in which runs of one method and one column differ, over all columns."""
    variants: dict[Key, set[tuple[tuple[str, Value], ...]]] = defaultdict(set)
    for run in runs:
        variants[run.column].add(tuple(sorted(run.settings.items(), key=lambda item: item[0])))
    keys: set[str] = set()
    for own in variants.values():
        shared = set.intersection(*(set(variant) for variant in own))
        keys |= {key for variant in own for key, value in variant if (key, value) not in shared}
    shown = {key for key in keys if not _is_capacity(key, runs)}
    return sorted(shown)


def _is_capacity(key: str, runs: Sequence[Run]) -> bool:
    """Whether a key is what the row's label gives as d or r."""
    named = {f"method.config.{run.settings.get('method.capacity') or 'r'}" for run in runs}
    return key in named
