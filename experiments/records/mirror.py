"""Weights & Biases as a mirror of the run records: it can lag, fail or be rebuilt; no number is ever read from it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LOGGER = logging.getLogger(__name__)


def mirror(record: Mapping[str, Any], folder: Path) -> None:
    """Write one W&B run for one run record, with the record's id, config, history, scores and outcome.

    Offline runs go to `folder`/wandb and wait there for `wandb sync`. A failing mirror is reported and fails no run.

    Args:
        record: a finished run record.
        folder: the run's own folder.
    """
    logger = record["config"]["logger"]
    if logger["wandb"] == "disabled":
        return
    import wandb  # lazily: machines that never log need not have it

    try:
        run = wandb.init(
            project=logger["project"],
            entity=logger["entity"],
            mode=logger["wandb"],
            id=record["id"],
            name=f"{record['config']['method']['name']} {record['key']['task']} {record['id']}",
            group=record["key"]["task"],
            tags=[record["key"]["backbone"], record["protocol"], record["track"], record["outcome"]],
            config=dict(record["config"]),
            dir=str(folder),
            resume="allow" if logger["wandb"] == "online" else None,
            settings=wandb.Settings(silent=True, console="off", init_timeout=15),
        )
    except wandb.Error as error:
        _LOGGER.warning("W&B mirror skipped: %s; the run record is complete without it", error)
        return
    for point in _points(record):
        run.log(point, step=point["step"])
    run.summary.update({"outcome": record["outcome"], **_flat("metrics", record["metrics"])})
    run.summary.update({**_flat("sizes", record["sizes"]), **_flat("cost", record["cost"])})
    run.finish(exit_code=0 if record["outcome"] == "ok" else 1)


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
    folders = sorted(path.parent for path in outputs.rglob("record.json"))
    for folder in folders:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        record["config"]["logger"]["wandb"] = mode
        mirror(record, folder)
    return len(folders)


def _points(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Training points by step, each epoch's selection metrics at the last step before its end."""
    steps = record["history"]["steps"]
    points = {
        point["step"]: {"step": point["step"], **_flat("train", {k: v for k, v in point.items() if k != "step"})}
        for point in steps
    }
    for epoch in record["history"]["epochs"]:
        step = max((point["step"] for point in steps if point["epoch"] <= epoch["epoch"]), default=0)
        points.setdefault(step, {"step": step}).update(_flat("selection", epoch["selection"]))
    return [points[step] for step in sorted(points)]


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flat(f"{prefix}/{name}", value))
        elif value is not None:
            flat[f"{prefix}/{name}"] = value
    return flat
