"""Run records, read and checked: the truth that every table is made from (docs/RECORD.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

SCHEMA = 1
OUTCOMES = ("ok", "diverged", "out_of_memory", "interrupted", "error")

Value = str | int | float | bool | None

_ERROR_LENGTH = 200
_TOP_LEVEL = frozenset(
    {"schema", "id", "key", "outcome", "error", "config", "protocol", "track", "metrics", "history", "sizes", "cost"}
    | {"seeds", "round_trip", "diagnostics", "artifacts", "provenance"}
)
# Settings that change no result, as experiments/identity.py has them. Any other key that differs makes another row.
_NO_RESULT = re.compile(
    r"(seed|d|plan|test|rerun|outputs|isolation|local|threads|hub_timeout|keep_checkpoint)$"
    r"|(logger|diagnostics|recipe\.sources|task\.hub|backbone\.architecture)(\.|$)"
    r"|(recipe\.name|data\.path|backbone\.(family|source|hub|revision|path))$"
)
# Keys that later records have, at the values that earlier ones imply (experiments/identity.py).
_NEUTRAL: Mapping[str, Value] = {"recipe.accumulation": 1, "recipe.label_smoothing": 0.0, "recipe.precision": "float32"}
_SEED = re.compile(r"(^|[._])(seeds?|prng_key)($|\.)")


class InputError(Exception):
    """Bad input: one line for each thing that is wrong, naming it and what would be accepted."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


class Column(NamedTuple):
    """What one column of a table holds: the key of a record and the primary metric."""

    task: str
    source: str
    subset: str
    backbone: str
    protocol: str
    track: str
    metric: str

    @property
    def split(self) -> str:
        """The split that scores come from: `best_on_dev` selects on the official validation split and has no test."""
        return "selection" if self.protocol == "best_on_dev" else "test"


@dataclass(frozen=True)
class Run:
    """What the tables need of one record.

    Attributes:
        id: the run's identity.
        path: its record.json.
        column: the column it belongs to.
        outcome: one of `OUTCOMES`.
        error: type and message in one line, for a run that did not end `ok`.
        method: the method's name.
        capacity: name and value of what sizes the method (d, r), where something does.
        settings: every setting that can change the result, seeds apart, by dotted key.
        seeds: the record's seeds.
        own_seeds: further seeds in the configuration (a projection's), by dotted key.
        score: the primary metric as a fraction; None where undefined or not measured.
        theta: trainable parameters of the method, without the head; None where not counted.
        head: trainable parameters of the task head; None where not counted.
        circumstances: versions, hardware, threads, commit and the fingerprint of the scored rows, by dotted key.
        is_trial: made with test=false, for a search; no result.
    """

    id: str
    path: Path
    column: Column
    outcome: str
    error: str | None
    method: str
    capacity: tuple[str, Value] | None
    settings: dict[str, Value]
    seeds: dict[str, Value]
    own_seeds: dict[str, Value]
    score: float | None
    theta: int | None
    head: int | None
    circumstances: dict[str, Value]
    is_trial: bool

    @property
    def state(self) -> str:
        """The outcome; `undefined` for a run that ended well but whose metric has no value."""
        return "undefined" if self.outcome == "ok" and self.score is None else self.outcome

    def record(self) -> dict[str, Any]:
        """The whole record, read again from `path`: its history, cost and diagnostics are not kept in memory.

        Raises:
            InputError: if the file has gone or is no longer a record of this run.
        """
        record = _read(self.path)
        if record["id"] != self.id:
            raise InputError([f"{self.path}: now the record of run {record['id']}; accepted: that of {self.id}"])
        return record


def read_runs(folder: Path) -> list[Run]:
    """All runs recorded below a folder, sorted by id; copies of a record with the same bytes count once.

    Raises:
        InputError: if there is no record, or with a line for each that is broken or that shares its id with another.
    """
    if not folder.is_dir():
        raise InputError([f"{folder}: no such folder; accepted: a folder with run records"])
    paths = sorted(folder.rglob("record.json"))
    if not paths:
        raise InputError([f"{folder}: no record.json in it or below; accepted: a folder with run records"])
    runs: dict[str, Run] = {}
    errors: list[str] = []
    for path in paths:
        try:
            run = read_run(path)
        except InputError as error:
            errors += error.lines
            continue
        first = runs.setdefault(run.id, run)
        if first is not run and first.path.read_bytes() != path.read_bytes():
            errors.append(f"{path}: another record of run {run.id} than {first.path}; accepted: one record per run")
    if errors:
        raise InputError(errors)
    return [runs[identity] for identity in sorted(runs)]


def read_run(path: Path) -> Run:
    """Read and check one record.

    Raises:
        InputError: naming the file and the reason.
    """
    record = _read(path)
    try:
        return _run(path, record)
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError([f"{path}: not a run record ({type(error).__name__}: {error})"]) from None
    except ValueError as error:
        raise InputError([f"{path}: {error}"]) from None


def read_json(path: Path) -> Any:
    """What a file of strict JSON holds.

    Raises:
        InputError: naming the file and the reason.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError([f"{path}: cannot be read ({error})"]) from None
    except ValueError as error:
        raise InputError([f"{path}: {error}"]) from None


def _read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = read_json(path)
    try:
        _check(record)
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError([f"{path}: not a run record ({type(error).__name__}: {error})"]) from None
    except ValueError as error:
        raise InputError([f"{path}: {error}"]) from None
    return record


def flatten(value: Any, prefix: str = "") -> dict[str, Value]:
    """The leaves of nested mappings by dotted key; a list is one leaf, as JSON text."""
    leaves: dict[str, Value] = {}
    _collect(value, prefix, leaves)
    return leaves


def _collect(value: Any, key: str, leaves: dict[str, Value]) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            _collect(item, f"{key}.{name}" if key else name, leaves)
    else:
        leaves[key] = json.dumps(value) if isinstance(value, list) else value


@lru_cache(maxsize=4096)
def _changes_result(key: str) -> bool:
    return not _NO_RESULT.match(key)


@lru_cache(maxsize=4096)
def _is_seed(key: str) -> bool:
    return _SEED.search(key) is not None


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not strict JSON; accepted: null for a number without a value")


def _check(record: Any) -> None:
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise ValueError(f"schema={found}: unknown version of the record; accepted: {SCHEMA}")
    missing = _TOP_LEVEL - set(record)
    if missing:
        raise ValueError(
            f"missing keys: {', '.join(sorted(missing))}; accepted: all of {', '.join(sorted(_TOP_LEVEL))}"
        )
    if record["outcome"] not in OUTCOMES:
        raise ValueError(f"outcome={record['outcome']}: unknown; accepted: one of {', '.join(OUTCOMES)}")
    key, config = record["key"], record["config"]
    twice = [
        ("protocol", record["protocol"]),
        ("protocol", config["protocol"]["name"]),
        ("track", record["track"]),
        ("track", config["track"]),
        ("source", config["data"]["source"]),
        ("backbone", config["backbone"]["name"]),
        ("task", ("embedded/" if key["source"] == "embedded" else "") + config["task"]["name"]),
    ]
    for name, value in twice:
        if key[name] != value:
            raise ValueError(f"key.{name}={key[name]}: the rest of the record says {value}; accepted: the same")


def _run(path: Path, record: dict[str, Any]) -> Run:
    config, provenance = record["config"], record["provenance"]
    key = {**record["key"], "backbone": _backbone(config["backbone"])}
    task = config["task"]
    column = Column(**key, metric=task["metrics"][0] if "metrics" in task else task["primary_metric"])
    references = {name: provenance.get(name) for name in ("data_reference", "backbone_reference")}
    leaves = {
        name: value
        for name, value in flatten({**config, **references}).items()
        if _changes_result(name) and not (name in _NEUTRAL and value == _NEUTRAL[name])
    }
    error = record["error"]
    return Run(
        id=record["id"],
        path=path,
        column=column,
        outcome=record["outcome"],
        error=shorten(f"{error['type']}: {error['message']}", _ERROR_LENGTH) if error else None,
        method=config["method"]["name"],
        capacity=_capacity(config["method"]),
        settings={name: value for name, value in leaves.items() if not _is_seed(name)},
        seeds=dict(record["seeds"]),
        own_seeds={k: v for k, v in leaves.items() if _is_seed(k) and not k.startswith("seeds.")},
        score=_score(record["metrics"], column),
        theta=record["sizes"].get("theta"),
        head=record["sizes"].get("head"),
        circumstances=_circumstances(provenance, column.split),
        is_trial=not config.get("test", True),
    )


def _backbone(backbone: Mapping[str, Any]) -> str:
    """The backbone's name; at another image size than the one it was pretrained with, `NAME@SIZE`.

    Every method sees less at half the size, so that such runs are no rows beside runs at the full one.
    """
    size = backbone.get("image_size")
    return backbone["name"] if size is None else f"{backbone['name']}@{size}"


def _capacity(method: Mapping[str, Any]) -> tuple[str, Value] | None:
    if method["capacity"] is not None:
        return "d", method["config"][method["capacity"]]
    return ("r", method["config"]["r"]) if "r" in method["config"] else None


def _score(metrics: Mapping[str, Any], column: Column) -> float | None:
    scores = metrics[column.split]
    if scores is None:
        return None
    if metrics["primary"] != column.metric or column.metric not in scores:
        raise ValueError(f"metrics: no {column.metric}, the task's primary metric; found: {', '.join(scores)}")
    score = scores[column.metric]
    if score is not None and (isinstance(score, bool) or not isinstance(score, (int, float))):
        raise ValueError(f"metrics.{column.split}.{column.metric}={score}: accepted: a number or null")
    return score


def _circumstances(provenance: Mapping[str, Any], split: str) -> dict[str, Value]:
    kept = {name: provenance[name] for name in ("packages", "hardware", "threads", "git_sha") if name in provenance}
    rows = provenance.get("data_fingerprint", {}).get(split)
    return {**flatten(kept), "git_dirty": provenance.get("git_dirty"), **({"scored_rows": rows} if rows else {})}
