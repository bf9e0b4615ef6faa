"""Run records, read and checked: the truth that every table is made from (docs/RECORD.md)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from schema.folder import Fault, Records, read_file, read_folder
from schema.identity import VERSION as IDENTITY
from schema.key import Key
from schema.record import BROKEN, Comparison, MethodConfig, Outcome, Provenance, Record, RoundTrip
from schema.seeds import is_seed

Value = str | int | float | bool | None

_ERROR_LENGTH = 200


class InputError(Exception):
    """Bad input: one line for each thing that is wrong, naming it and what would be accepted."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True)
class Run:
    """What the tables need of one record.

    Attributes:
        id: the run's identity.
        path: its record.json.
        column: the column it belongs to.
        identity: the version of what its identity covers.
        outcome: how it ended.
        reason: in one line, why it did not end `ok`, or why it has no score.
        method: the method's name.
        capacity: name and value of what sizes the method (d, r), where something does.
        settings: every setting that can change the result, seeds apart, by dotted key.
        seeds: the record's seeds.
        own_seeds: further seeds in the configuration (a projection's), by dotted key.
        score: the primary metric as a fraction; None where undefined or not measured, or where the outcome is not `ok`.
        theta: trainable parameters of the method, without the head; None where not counted.
        head: trainable parameters of the task head; None where not counted.
        environment: versions, hardware, threads, commit and the fingerprint of the scored rows, by dotted key.
        is_trial: made with test=false, for a search; no result.
    """

    id: str
    path: Path
    column: Key
    identity: int
    outcome: Outcome
    reason: str | None
    method: str
    capacity: tuple[str, Value] | None
    settings: dict[str, Value]
    seeds: dict[str, Value]
    own_seeds: dict[str, Value]
    score: float | None
    theta: int | None
    head: int | None
    environment: dict[str, Value]
    is_trial: bool

    @property
    def state(self) -> str:
        """The outcome; `undefined` for a run that ended well but whose metric has no value."""
        return "undefined" if self.outcome == "ok" and self.score is None else self.outcome

    @property
    def all_seeds(self) -> frozenset[tuple[str, Value]]:
        """Every seed by its name."""
        return frozenset({**self.seeds, **self.own_seeds}.items())

    @property
    def is_newest(self) -> bool:
        """Whether its identity covers all that is covered by the newest."""
        return self.identity == IDENTITY

    def record(self) -> Record:
        """The whole record, read again from `path`: its history, cost and diagnostics are not kept in memory.

        Raises:
            InputError: if the file has gone or is no longer a record of this run.
        """
        record = _sound(read_file(self.path))
        if record.id != self.id:
            raise InputError([f"{self.path}: now the record of run {record.id}; accepted: that of {self.id}"])
        return record


def read_runs(folder: Path) -> Records[Run]:
    """All runs recorded in a folder and below, sorted by id, and the files that cannot be used.

    Raises:
        InputError: if there is no record.
    """
    if not folder.is_dir():
        raise InputError([f"{folder}: no such folder; accepted: a folder with run records"])
    found = read_folder(folder, _run)
    if not found.kept and not found.faults:
        raise InputError([f"{folder}: no record.json in it or below; accepted: a folder with run records"])
    return _told_apart(found)


def _told_apart(found: Records[Run]) -> Records[Run]:
    """Without runs of the same configuration and seeds under two ids, of which one seed would count twice."""
    alike: dict[Hashable, list[Run]] = defaultdict(list)
    for run in found.kept:
        if not run.is_trial:
            settings = frozenset((name, value) for name, value in run.settings.items() if value is not None)
            alike[run.column, run.method, run.identity, settings, run.all_seeds].append(run)
    doubled = [runs for runs in alike.values() if len(runs) > 1]
    faults = [
        Fault(
            run.path,
            f"same configuration and seeds as {next(other.path for other in runs if other is not run)}, other id; "
            "accepted: one of them, or each in a folder of its own",
        )
        for runs in doubled
        for run in runs
    ]
    lost = {run.id for runs in doubled for run in runs}
    kept = [run for run in found.kept if run.id not in lost]
    return Records(kept, sorted([*found.faults, *faults], key=lambda fault: fault.path))


def read_run(path: Path) -> Run:
    """Read and check one record.

    Raises:
        InputError: naming the file and the reason.
    """
    return _run(path, _sound(read_file(path)))


def _run(path: Path, record: Record) -> Run:
    leaves = flatten(record.identity.hashed)
    return Run(
        id=record.id,
        path=path,
        column=record.key,
        identity=record.identity.version,
        outcome=record.outcome,
        reason=_reason(record),
        method=record.config.method.name,
        capacity=_capacity(record.config.method),
        settings={name: value for name, value in leaves.items() if not is_seed(name)},
        seeds=record.seeds.model_dump(),
        own_seeds={k: v for k, v in leaves.items() if is_seed(k) and not k.startswith("seeds.")},
        score=_score(record),
        theta=record.sizes.theta,
        head=record.sizes.head,
        environment=_environment(record.provenance, record.key),
        is_trial=not record.config.test,
    )


def _sound(found: Record | Fault) -> Record:
    if isinstance(found, Fault):
        raise InputError([str(found)])
    return found


def flatten(value: Any, prefix: str = "") -> dict[str, Value]:
    """The leaves of nested mappings by dotted key; a list is one leaf, as JSON text in which 3.0 is 3."""
    leaves: dict[str, Value] = {}
    _collect(value, prefix, leaves)
    return leaves


def _collect(value: Any, key: str, leaves: dict[str, Value]) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            _collect(item, f"{key}.{name}" if key else name, leaves)
    else:
        leaves[key] = json.dumps(_whole(value)) if isinstance(value, list) else value


def _whole(value: Any) -> Any:
    """Whole numbers as integers, so that equal numbers give equal text."""
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _capacity(method: MethodConfig) -> tuple[str, Value] | None:
    name, shown = (method.capacity, "d") if method.capacity is not None else ("r", "r")
    value = method.config.get(name)
    return None if value is None or isinstance(value, (list, dict)) else (shown, value)


def _score(record: Record) -> float | None:
    """The primary metric; None also where the scores lack it, since no other may stand in its place."""
    scores = getattr(record.metrics, record.key.split) or {}
    return scores.get(record.key.metric) if record.outcome == "ok" else None


def _reason(record: Record) -> str | None:
    """Why a run did not end well, what its round trip changed, or which scores it has instead of the primary metric."""
    if record.outcome == BROKEN:
        return "; ".join(_broken(record.round_trip)) or _error(record)
    scores = getattr(record.metrics, record.key.split)
    if record.outcome == "ok" and scores is not None and record.key.metric not in scores:
        return f"no {record.key.metric}, the task's primary metric, among its scores: {', '.join(scores) or 'none'}"
    return _error(record)


def _error(record: Record) -> str | None:
    error = record.error
    return shorten(f"{error.type}: {error.message}", _ERROR_LENGTH) if error else None


def _broken(trip: RoundTrip) -> Iterator[str]:
    """What saving and merging changed, of the steps that changed more than is accepted."""
    for step in ("reload", "merge", "unmerge"):
        found: Comparison | str | None = getattr(trip, step)
        if not isinstance(found, Comparison) or found.tolerance is None:
            continue
        size = found.max_abs_logit_difference
        if size is None or size > found.tolerance:
            largest = "not finite" if size is None else f"{size:.3g}"
            yield (
                f"{step}: largest difference of a logit {largest} (accepted: {found.tolerance:.3g}), "
                f"{found.changed_predictions} of {found.examples} predictions changed"
            )


def _environment(provenance: Provenance, key: Key) -> dict[str, Value]:
    kept = provenance.model_dump(include={"packages", "hardware", "threads", "git_sha"}, exclude_unset=True)
    rows = provenance.data_fingerprint.get(key.split)
    return {**flatten(kept), "git_dirty": provenance.git_dirty, **({"scored_rows": rows} if rows else {})}
