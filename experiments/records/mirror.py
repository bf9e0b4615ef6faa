"""Weights & Biases as a mirror of the run records: it can lag, fail or be rebuilt; no number is ever read from it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from experiments.records.record import RECORD, read
from schema.record import Record
from schema.sections import Logger

_LOGGER = logging.getLogger(__name__)


def mirror(record: Record, logger: Logger, folder: Path) -> None:
    """Write one W&B run for one run record, with the record's id, config, history, scores and outcome.

    Offline runs go to `folder`/wandb and wait there for `wandb sync`. A failing mirror is reported and fails no run.

    Args:
        record: a finished run record.
        logger: where the mirror goes.
        folder: the run's own folder.
    """
    if logger.wandb == "disabled":
        return
    import wandb  # lazily: machines that never log need not have it

    try:
        run = wandb.init(
            project=logger.project,
            entity=logger.entity,
            mode=logger.wandb,
            id=record.id,
            name=f"{record.config.method.name} {record.key.task} {record.id}",
            group=record.key.task,
            tags=[record.key.backbone, record.protocol, record.track, record.outcome],
            config=record.config.model_dump(),
            dir=str(folder),
            resume="allow" if logger.wandb == "online" else None,
            settings=wandb.Settings(silent=True, console="off", init_timeout=15),
        )
    except wandb.Error as error:
        _LOGGER.warning("W&B mirror skipped: %s; the run record is complete without it", error)
        return
    for step, point in _points(record).items():
        run.log(point, step=step)
    run.summary.update({"outcome": record.outcome, **_flat("metrics", record.metrics.model_dump())})
    run.summary.update({**_flat("sizes", record.sizes.model_dump()), **_flat("cost", record.cost.model_dump())})
    run.finish(exit_code=0 if record.outcome == "ok" else 1)


def rebuild(outputs: Path, mode: str) -> int:
    """Mirror every record below a folder again.

    Args:
        outputs: the folder of run records.
        mode: "offline" or "online", whatever the runs were made with.

    Returns:
        how many records there were.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if not outputs.is_dir():
        raise FileNotFoundError(f"{outputs}: no such folder; accepted: the outputs folder of earlier runs")
    folders = sorted(path.parent for path in outputs.rglob(RECORD))
    for folder in folders:
        record = read(folder)
        assert record is not None
        mirror(record, logger_of(record).model_copy(update={"wandb": mode}), folder)
    return len(folders)


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
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flat(f"{prefix}/{name}", value))
        elif value is not None:
            flat[f"{prefix}/{name}"] = value
    return flat
