"""Numbers that papers report (published.yaml): read, checked, and set beside our own where they may stand there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from analysis.cells import Section
from analysis.records import InputError
from schema.key import Key

PATH = Path(__file__).with_name("published.yaml")
AVERAGE = "average"
"""The task of a printed average; `over` says of which tasks."""

_CELL = re.compile(r"(?P<value>\d+(\.\d+)?)(±(?P<spread>\d+(\.\d+)?))?")
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "certainty": ("V", "2", "I"),
    "protocol": ("best_on_dev", "heldout", "test", None),
    "statistic": ("median", "mean", "single", None),
    "spread_kind": ("std", None),
}
_SHARED = frozenset({"backbone", "metric", "n", "source", "note", *_CHOICES})
_TABLE = _SHARED | {"title", "tasks", "over", "rows"}
_ROW = _SHARED | {"method", "variant", "parameters", "cells", "average"}


@dataclass(frozen=True)
class Published:
    """One published number, or a gap; what is not known is None.

    Attributes:
        method: the method's name, as the suite has it where it has the method.
        variant: what sets this row apart from the method's other ones; empty for none.
        backbone: the backbone's name, as the suite has it.
        task: the task's name, as the suite has it, or `AVERAGE`.
        over: the tasks of an average, sorted; empty otherwise.
        metric: the metric's name; None for an average over several.
        value: per cent (MT-Bench: points of 10); None: not recovered.
        spread: in the unit of `value`.
        spread_kind: what the spread is.
        n: runs behind the value.
        statistic: what the value is of these runs.
        protocol: what selected the checkpoint and what was scored.
        parameters: trained values without the head, in the source's rounding.
        source: keys of the file's `sources`, nearest to the paper first.
        certainty: `V` seen verbatim, `2` second-hand, `I` inferred.
        note: what a reader must know, or empty.
    """

    method: str
    variant: str
    backbone: str | None
    task: str
    over: tuple[str, ...]
    metric: str | None
    value: float | None
    spread: float | None
    spread_kind: str | None
    n: int | None
    statistic: str | None
    protocol: str | None
    parameters: int | None
    source: tuple[str, ...]
    certainty: str
    note: str

    @property
    def text(self) -> str | None:
        """Value and spread with one or two decimals; None for a gap."""
        if self.value is None:
            return None
        known = [self.value, self.spread] if self.spread is not None else [self.value]
        digits = 1 if all(round(number, 1) == number for number in known) else 2
        return " ± ".join(f"{number:.{digits}f}" for number in known)

    @property
    def label(self) -> str:
        """The row's name: the method and its variant."""
        return ", ".join(filter(None, [self.method, self.variant]))


@lru_cache(maxsize=4)
def read_published(path: Path = PATH) -> tuple[Published, ...]:
    """All published numbers, in the order of the file.

    Raises:
        InputError: with a line for each table or row that is not as the file's header says, or for a repeated number.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError([f"{path}: cannot be read ({type(error).__name__})"]) from None
    if not isinstance(content, dict) or content.get("schema") != 1 or not {"sources", "tables"} <= set(content):
        raise InputError([f"{path}: no published numbers; accepted: schema: 1, sources and tables"])
    errors: list[str] = []
    found: list[Published] = []
    for table in content["tables"]:
        for row in table["rows"]:
            try:
                found += _entries(table, row, frozenset(content["sources"]))
            except ValueError as error:
                errors.append(f"{path}: {table.get('title')}: {row.get('method')}: {error}")
    errors += [f"{path}: {entry.label}, {entry.backbone}, {entry.task}: given twice" for entry in _repeated(found)]
    if errors:
        raise InputError(errors)
    return tuple(found)


def _entries(table: Mapping[str, Any], row: Mapping[str, Any], sources: frozenset[str]) -> list[Published]:
    """The numbers of one row, one per task and the average."""
    unknown = (set(table) - _TABLE) | (set(row) - _ROW)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: unknown key; accepted: {', '.join(sorted(_TABLE | _ROW))}")
    merged = {**dict.fromkeys(_SHARED), **table, **row}
    _check(merged, sources)
    tasks, cells = table.get("tasks", []), row.get("cells", [])
    if len(tasks) != len(cells):
        raise ValueError(f"cells={cells}: {len(cells)} for {len(tasks)} tasks; accepted: one or null for each")
    metrics = merged["metric"] if isinstance(merged["metric"], list) else [merged["metric"]] * len(tasks)
    notes = [note for note in (table.get("note"), row.get("note")) if note]
    shared = {name: merged[name] for name in ("method", "backbone", "n", "statistic", "protocol", "parameters")}
    shared |= {"certainty": merged["certainty"], "variant": row.get("variant", ""), "note": "; ".join(notes)}
    shared["source"] = tuple(merged["source"])
    found = []
    for task, metric, cell in zip(tasks, metrics, cells, strict=True):
        value, spread = _number(cell)
        kind = merged["spread_kind"] if spread is not None else None
        found.append(
            Published(task=task, over=(), metric=metric, value=value, spread=spread, spread_kind=kind, **shared)
        )
    if "average" in row:
        over = tuple(sorted(table.get("over", tasks)))
        metric = metrics[0] if metrics and len(set(metrics)) == 1 else None
        value, _ = _number(row["average"])
        found.append(
            Published(task=AVERAGE, over=over, metric=metric, value=value, spread=None, spread_kind=None, **shared)
        )
    return found


def _check(merged: Mapping[str, Any], sources: frozenset[str]) -> None:
    if not isinstance(merged.get("method"), str):
        raise ValueError(f"method={merged.get('method')}: accepted: a name")
    for name, accepted in _CHOICES.items():
        if merged[name] not in accepted:
            raise ValueError(f"{name}={merged[name]}: accepted: {', '.join(map(str, accepted))}")
    for name in ("n", "parameters"):
        value = merged.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{name}={value}: accepted: a whole number from 1, or null")
    if not merged["source"] or not set(merged["source"]) <= sources:
        raise ValueError(f"source={merged['source']}: accepted: a list of {', '.join(sorted(sources))}")


def _number(cell: Any) -> tuple[float | None, float | None]:
    """Value and spread of a cell, in the digits of the source."""
    if cell is None:
        return None, None
    match = _CELL.fullmatch(str(cell))
    if not match:
        raise ValueError(f"{cell}: no number; accepted: VALUE, VALUE±SPREAD or null")
    spread = match["spread"]
    return float(match["value"]), None if spread is None else float(spread)


def _repeated(entries: Iterable[Published]) -> list[Published]:
    seen: set[tuple[Any, ...]] = set()
    twice = []
    for entry in entries:
        place = (entry.label, entry.parameters, entry.backbone, entry.task, entry.over, entry.protocol, entry.source)
        if place in seen:
            twice.append(entry)
        seen.add(place)
    return twice


def fits(entry: Published, column: Key) -> bool:
    """Whether a number may stand in a column: same backbone, protocol, task and metric, on all of the real data."""
    return is_full(column) and (entry.backbone, entry.protocol, entry.task, entry.metric) == (
        column.backbone,
        column.protocol,
        column.task,
        column.metric,
    )


def is_full(column: Key) -> bool:
    """Whether a column is of all of the real data."""
    return column.source != "embedded" and column.subset == "full"


def beside(section: Section, entries: Sequence[Published] | None = None) -> list[tuple[Published, ...]]:
    """The published rows that may stand in a section, each with its numbers: those that fit a column, and an average.

    An average may stand where its tasks are the section's, all of them on all of the real data.
    """
    rows: dict[tuple[Any, ...], list[Published]] = {}
    tasks = tuple(sorted(column.task for column in section.columns if is_full(column)))
    complete = len(tasks) == len(section.columns)
    for entry in read_published() if entries is None else entries:
        average = complete and entry.over == tasks
        same = (entry.backbone, entry.protocol) == (section.backbone, section.protocol)
        if entry.value is not None and ((average and same) or any(fits(entry, column) for column in section.columns)):
            place = (entry.label, entry.parameters, entry.source, entry.certainty, entry.note)
            rows.setdefault(place, []).append(entry)
    return [tuple(rows[place]) for place in rows]


FIELDS = tuple(field.name for field in fields(Published))
"""Names of what a published number has, in order."""
