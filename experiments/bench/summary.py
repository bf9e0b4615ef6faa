"""Medians and ratios of what was measured, and the table of them for the screen."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.bench.measured import PARTS, Measured

Row = dict[str, float | None]
"""Of a contender: medians and ratios by their names in the record."""

#: Of a table: heading, unit and format, by name in the record.
_COLUMNS = {
    "step_seconds": ("step ms", 1e-3, ".0f"),
    "step_ratio": ("over {baseline}", 1, ".3f"),
    "pass_seconds": ("passes ms", 1e-3, ".0f"),
    "attach_seconds": ("attach ms", 1e-3, ".0f"),
    "first_use_seconds": ("first use ms", 1e-3, ".0f"),
    "init_seconds": ("init s", 1, ".2f"),
    "merge_seconds": ("merge s", 1, ".3f"),
    "peak_bytes": ("peak MiB", 2**20, ".0f"),
    "state_bytes_per_weight": ("state bytes a weight", 1, ".4f"),
}


@dataclass(frozen=True)
class Compared:
    """All contenders on one set of targets, by name.

    Attributes:
        measured: what was measured.
        baseline: whose times the ratios are over.
    """

    measured: Mapping[str, Measured]
    baseline: str

    @property
    def summary(self) -> dict[str, Row]:
        """Medians, and ratios to the baseline: the median over rounds of the ratio of both medians within the round."""
        return {name: self._row(found) for name, found in self.measured.items()}

    def _row(self, found: Measured) -> Row:
        reference = self.measured[self.baseline]
        own, other = _medians(found, found.parts), _medians(reference, reference.parts)
        return {
            **{PARTS[part]: statistics.median(_medians(found, [part])) for part in found.parts},
            "step_seconds": statistics.median(own),
            "step_ratio": statistics.median(a / b for a, b in zip(own, other, strict=True)),
            "peak_over_baseline_bytes": found.peak_bytes - reference.peak_bytes,
            "state_bytes_per_weight": found.bytes_per_weight,
        }

    def rows(self) -> dict[str, Row]:
        """The summary with what the table has besides."""
        return {
            name: row
            | {
                "peak_bytes": self.measured[name].peak_bytes,
                "init_seconds": self.measured[name].init_seconds,
                "merge_seconds": self.measured[name].sizes.merge_seconds,
            }
            for name, row in self.summary.items()
        }


def _medians(found: Measured, parts: Sequence[str]) -> list[float]:
    """By turn the median over its steps of the sum of some parts."""
    return [statistics.median(map(sum, zip(*(turn[part] for part in parts), strict=True))) for turn in found.turns]


def table(compared: Mapping[str, Compared]) -> str:
    """In Markdown, a line for each set of targets and contender; `python -m analysis bench` makes the one to print."""
    rows = [(target, name, row) for target, part in compared.items() for name, row in part.rows().items()]
    columns = {key: column for key, column in _COLUMNS.items() if any(row.get(key) is not None for _, _, row in rows)}
    baseline = next(iter(compared.values())).baseline
    heads = [head.format(baseline=baseline) for head, _, _ in columns.values()]
    lines = [["targets", "method", *heads], ["---"] * (2 + len(heads))]
    lines += [
        [target, name, *(_cell(row.get(key), *column[1:]) for key, column in columns.items())]
        for target, name, row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: float | None, unit: float, form: str) -> str:
    return "" if value is None else f"{value / unit:{form}}"
