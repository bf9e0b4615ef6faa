"""Weights & Biases as a mirror of the run records: it can lag, fail or be rebuilt; no number is ever read from it."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from experiments.errors import SpecError, shorten
from experiments.records.lock import is_held
from experiments.records.record import written
from schema.folder import Fault, read_folder
from schema.record import Record
from schema.sections import Logger

if TYPE_CHECKING:
    import wandb

_INIT_SECONDS = 15
"""How long a run waits for W&B to answer; its own default is 90."""
_FINISH_SECONDS = 120
"""How long a run waits for its points to be uploaded; what is not by then stays in its folder for `wandb sync`."""
_LONGEST_TAG = 64
"""W&B refuses longer ones."""


def mode_of(logger: Logger) -> str:
    """Where the mirror goes, in wandb's words: WANDB_MODE wins over `logger=`, but for `logger=disabled`.

    Either can switch the mirror off, so that nothing is sent which one of both forbids.
    """
    return "disabled" if logger.wandb == "disabled" else os.environ.get("WANDB_MODE") or logger.wandb


def mirror(record: Record, logger: Logger, folder: Path, reproduced: bool = False) -> bool:
    """Write one W&B run for one run record, with the record's id, config, history, scores and outcome.

    It takes the place of what the folder holds of earlier attempts, and on the server of the run of this id. Offline
    runs go to `folder`/wandb and wait there for `wandb sync`. Whatever goes wrong costs one line and fails no run.

    Args:
        record: a finished run record.
        logger: where the mirror goes.
        folder: the run's own folder.
        reproduced: whether the run was made again to be compared: it then has an id of its own, and a tag.

    Returns:
        whether there is a mirror now.
    """
    mode = mode_of(logger)
    if mode == "disabled":
        return False
    identity = f"{record.id}-reproduced-{_digits(record.provenance.started)}" if reproduced else record.id
    try:
        _withdraw(folder, identity)
        with _silent():
            _write(record, logger, folder, mode, identity, ["reproduced"] if reproduced else [])
    except Exception as error:  # whatever a library, a network or a disk does: the record is there already
        _clear(folder, identity)
        reason = shorten(" ".join(f"{type(error).__name__}: {error}".split()))
        print(f"warning: no W&B mirror ({reason}); the run record is complete without it", file=sys.stderr, flush=True)
        return False
    return True


def _digits(time: str | None) -> str:
    """A time to the second, in characters that ids may have."""
    return "".join(filter(str.isdigit, time or ""))[:14]


@contextmanager
def _silent() -> Iterator[None]:
    """Keep wandb to itself: its login speaks whatever its settings say, and its log complains of a full disk."""
    before = logging.raiseExceptions
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.raiseExceptions = False
    try:
        yield
    finally:
        logging.raiseExceptions = before


def _write(record: Record, logger: Logger, folder: Path, mode: str, identity: str, tags: list[str]) -> None:
    import wandb  # lazily: machines that never log need not have it

    (folder / "wandb").mkdir(exist_ok=True)  # where it cannot be made, wandb would write somewhere else
    seconds = {"init_timeout": _INIT_SECONDS, "finish_timeout": _FINISH_SECONDS}
    try:
        run = wandb.init(
            project=logger.project,
            entity=logger.entity,
            mode=cast(Any, mode),  # wandb reads more words than it declares: dryrun, run
            id=identity,
            name=f"{record.config.method.name} {record.key.task} {identity}",
            group=record.key.task,
            tags=[shorten(tag, _LONGEST_TAG) for tag in (*_tags(record), *tags)],
            config=record.config.model_dump(),
            dir=str(folder),
            settings=wandb.Settings(silent=True, console="off", **seconds),
        )
        _log(record, run)
        run.finish(exit_code=0 if record.outcome == "ok" else 1)
    except Exception:
        wandb.teardown()  # its process would keep the id, so that the next try of this one fails
        raise


def _log(record: Record, run: wandb.Run) -> None:
    for step, point in _points(record).items():
        run.log(point, step=step)
    run.summary.update({"outcome": record.outcome, **_flat("metrics", record.metrics.model_dump())})
    run.summary.update({**_flat("sizes", record.sizes.model_dump()), **_flat("cost", record.cost.model_dump())})


def _tags(record: Record) -> tuple[str, ...]:
    return record.key.backbone, record.protocol, record.track, record.outcome


def _withdraw(folder: Path, identity: str) -> None:
    """Remove what would be uploaded under the same id: the mirror so far, and those of attempts set aside.

    Raises:
        OSError: if it cannot be removed.
    """
    for parent in (folder, *folder.glob("previous/*")):
        for path in _written(parent, identity):
            shutil.rmtree(path)


def _clear(folder: Path, identity: str) -> None:
    """Take away what a failed mirror has left, so that it counts as missing."""
    for path in _written(folder, identity):
        shutil.rmtree(path, ignore_errors=True)
    if not any((folder / "wandb").glob("*run-*-*")):
        shutil.rmtree(folder / "wandb", ignore_errors=True)


def _written(folder: Path, identity: str) -> list[Path]:
    """The folders that wandb has written for an id, offline or online."""
    return [path for path in folder.glob(f"wandb/*run-*-{identity}") if path.is_dir() and not path.is_symlink()]


@dataclass(frozen=True)
class Rebuilt:
    """How many records were mirrored, kept the mirror that they have or get, and failed; files that are no records."""

    mirrored: int
    kept: int
    failed: int
    faults: list[Fault]

    def __str__(self) -> str:
        left = f", {self.kept} left with the mirror that they have" if self.kept else ""
        return f"{self.mirrored} records mirrored{left}" + (f", {self.failed} failed" if self.failed else "")


def rebuild(outputs: Path, mode: str, everything: bool = False) -> Rebuilt:
    """Mirror the records below a folder that have no mirror.

    Args:
        outputs: the folder of run records.
        mode: "offline" or "online", whatever the runs were made with.
        everything: every record, in place of the mirror that it has.

    Raises:
        SpecError: if there is no such folder.
        SpecError: if WANDB_MODE forbids mirrors.
    """
    if not outputs.is_dir():
        raise SpecError([f"{outputs}: no such folder; accepted: the outputs folder of earlier runs"])
    if os.environ.get("WANDB_MODE") == "disabled":
        raise SpecError(["WANDB_MODE=disabled: nothing is mirrored; accepted: offline, online, or none at all"])
    found = read_folder(outputs, lambda path, _: path.parent)
    done = [_mirrored(folder, mode, everything) for folder in sorted(found.kept)]
    return Rebuilt(done.count(True), done.count(None), done.count(False), found.faults)


def _mirrored(folder: Path, mode: str, everything: bool) -> bool | None:
    """Whether one record was mirrored; None where it has a mirror, or its own process may be writing one."""
    record = written(folder)
    if is_held(folder) or (not everything and any(_written(folder, record.id))):
        return None
    return mirror(record, logger_of(record).model_copy(update={"wandb": mode}), folder)


def logger_of(record: Record) -> Logger:
    """The `logger` section that a run was made with."""
    return Logger.model_validate((record.config.model_extra or {})["logger"])


def _points(record: Record) -> dict[int, dict[str, object]]:
    """By step what is logged there: training points, and each epoch's selection metrics at the last step before."""
    steps = record.history.steps
    points = {part.step: {"step": part.step, **_flat("train", part.model_dump(exclude={"step"}))} for part in steps}
    for epoch in record.history.epochs:
        step = max((part.step for part in steps if part.epoch <= epoch.epoch), default=0)
        points.setdefault(step, {"step": step}).update(_flat("selection", epoch.selection))
    return dict(sorted(points.items()))


def _flat(prefix: str, values: Mapping[str, object]) -> dict[str, object]:
    return dict(_leaves(prefix, values))


def _leaves(prefix: str, values: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(f"{prefix}/{name}", value)
        elif value is not None:
            yield f"{prefix}/{name}", value
