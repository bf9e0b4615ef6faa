"""The files of a run: `attempt.json` when it begins, `record.json` when it has ended (docs/RECORD.md)."""

from __future__ import annotations

import json
import math
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from pydantic import BaseModel

from experiments.configuration.digests import file_digest
from experiments.errors import SpecError
from schema.folder import RECORD, Fault, read_file
from schema.plan import Attempt as AttemptFile
from schema.plan import Plan
from schema.proof import sealed
from schema.record import Artifact, Config, Provenance, Record

_HEARTBEAT_SECONDS = 15.0
RESUME = "resume"
"""The folder of the kept state of training, which an attempt leaves to the next one."""


def now() -> str:
    """The time, in UTC, to the second (ISO 8601)."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write strict JSON (null, never NaN) atomically: a reader sees the old file or the whole new one."""
    _replace(path, _text(value))


def _text(value: Mapping[str, object]) -> str:
    return json.dumps(strict(value), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def strict(value: object) -> object:
    """The same value with what JSON has no text for (NaN, infinities) as None, paths as text, models as mappings."""
    if isinstance(value, BaseModel):
        return strict(value.model_dump(by_alias=True))
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()  # of a file's name that is not Unicode
    if isinstance(value, Path):
        return value.as_posix()
    return value


def write(path: Path, model: BaseModel) -> None:
    """Write a model as strict JSON, atomically; a record with the digest that proves it whole."""
    if isinstance(model, Record):
        _replace(path, sealed(_text(model.model_copy(update={"digest": None}).model_dump(by_alias=True))))
    else:
        write_json(path, model.model_dump(by_alias=True))


def read(folder: Path) -> Record | Fault | None:
    """The record of a run folder, raised to the newest schema; why it cannot be read; None where no attempt has ended.

    A fault that `is_newer` is of a record that a later version of the suite wrote; any other file is damaged, edited or
    of another run.
    """
    path = folder / RECORD
    return read_file(path) if os.path.lexists(path) else None


def written(folder: Path) -> Record:
    """The record of a run folder whose attempt has ended.

    Raises:
        SpecError: if there is none that can be read.
    """
    found = read(folder)
    if isinstance(found, Record):
        return found
    raise SpecError([str(found) if found else f"{folder}: no {RECORD} in it; accepted: the folder of a recorded run"])


def blank(plan: Plan) -> Record:
    """The record of a planned run with nothing measured yet; the outcome is `error` until it is known."""
    config = Config.model_validate(plan.config)
    references = {name: plan.identity.hashed[name] for name in ("data_reference", "backbone_reference")}
    return Record(
        id=plan.id,
        identity=plan.identity,
        key=plan.key,
        config=config,
        protocol=plan.key.protocol,
        track=config.track,
        seeds=config.seeds,
        provenance=Provenance(**references),
    )


def artifacts(folder: Path) -> list[Artifact]:
    """Every file that belongs to the run's result."""
    kept = [folder / "predictions.parquet", *sorted((folder / "checkpoint").rglob("*"))]
    return [
        Artifact(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=file_digest(path))
        for path in kept
        if path.is_file()
    ]


class Attempt:
    """Context of one attempt: `attempt.json` says which process runs since when and that it is still alive."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._path = folder / "attempt.json"
        started = now()
        self._content = AttemptFile(
            id=plan.id,
            key=plan.key,
            process=os.getpid(),
            host=socket.gethostname(),
            started=started,
            heartbeat=started,
        )
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def _write(self) -> None:
        write(self._path, self._content.model_copy(update={"heartbeat": now()}))

    def _beat(self) -> None:
        while not self._stopped.wait(_HEARTBEAT_SECONDS):
            with suppress(OSError):  # a full disk ends the run where it writes its results
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
