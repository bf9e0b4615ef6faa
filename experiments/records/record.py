"""The run record: `attempt.json` when a run begins, `record.json` when it has ended. docs/RECORD.md is the schema."""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from experiments.configuration.identity import file_digest

SCHEMA = 1
DONE = ("ok", "diverged", "broken_round_trip")
OUTCOMES = (*DONE, "out_of_memory", "interrupted", "error")
_HEARTBEAT_SECONDS = 15.0


def now() -> str:
    """The time, in UTC, to the second (ISO 8601)."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write strict JSON (null, never NaN) atomically: a reader sees the old file or the whole new one."""
    text = json.dumps(strict(value), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def strict(value: Any) -> Any:
    """The same value with every number that JSON has no text for (NaN, infinities) as None, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return value.as_posix()
    return value


def read(folder: Path) -> dict[str, Any] | None:
    """The record of a run folder, or None where no attempt has ended."""
    path = folder / "record.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def is_done(record: Mapping[str, Any] | None) -> bool:
    """Whether a run need not be run again: its outcome is one of `DONE`."""
    return record is not None and record["outcome"] in DONE


def blank(identity: str, key: Mapping[str, str], config: Mapping[str, Any]) -> dict[str, Any]:
    """A record with every top-level key and nothing measured yet; the outcome is `error` until it is known."""
    return {
        "schema": SCHEMA,
        "id": identity,
        "key": dict(key),
        "outcome": "error",
        "error": None,
        "config": dict(config),
        "protocol": key["protocol"],
        "track": key["track"],
        "metrics": {"primary": None, "selection": None, "test": None},
        "history": {"steps": [], "epochs": [], "best_epoch": None},
        "sizes": {},
        "cost": {},
        "seeds": dict(config["seeds"]),
        "round_trip": {},
        "diagnostics": {},
        "artifacts": [],
        "provenance": {},
    }


def artifacts(folder: Path) -> list[dict[str, Any]]:
    """Path (relative to the run's folder), bytes and sha256 of every file that belongs to the run's result."""
    kept = [folder / "predictions.parquet", *sorted((folder / "checkpoint").rglob("*"))]
    return [
        {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": file_digest(path)}
        for path in kept
        if path.is_file()
    ]


def set_aside(folder: Path) -> None:
    """Move what an earlier attempt left into `previous/N/`, so that nothing recorded is lost or read twice.

    The record is renamed to `previous-record.json` there: readers look for `record.json` alone.
    """
    entries = [path for path in folder.iterdir() if path.name not in ("previous", "lock")]
    if not entries:
        return
    number = 1 + max((int(path.name) for path in (folder / "previous").glob("[0-9]*")), default=0)
    target = folder / "previous" / str(number)
    target.mkdir(parents=True)
    for path in entries:
        name = "previous-record.json" if path.name == "record.json" else path.name
        shutil.move(path, target / name)


class Attempt:
    """Context of one attempt: `attempt.json` says which process runs since when and that it is still alive."""

    def __init__(self, folder: Path, identity: str, key: Mapping[str, str]) -> None:
        self._path = folder / "attempt.json"
        self._content: dict[str, Any] = {
            "schema": SCHEMA,
            "id": identity,
            "key": dict(key),
            "process": os.getpid(),
            "host": socket.gethostname(),
            "started": now(),
        }
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def _write(self) -> None:
        write_json(self._path, {**self._content, "heartbeat": now()})

    def _beat(self) -> None:
        while not self._stopped.wait(_HEARTBEAT_SECONDS):
            self._write()

    def __enter__(self) -> Attempt:
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
