"""Where a run's identity meets the disk: the key of its column and the name of its folder."""

from __future__ import annotations

from pathlib import Path

from schema.key import Key
from schema.run import RunSpec


def cell_key(spec: RunSpec, subset: str) -> Key:
    """The key of the table cell that a run belongs to; numbers with different keys never share a column.

    Args:
        spec: the run.
        subset: the name of the rows used, "full" or as `experiments.data.sources` names a subset.
    """
    return Key(
        task=spec.task_name,
        source=spec.data.source,
        subset=subset,
        backbone=spec.backbone.label,
        protocol=spec.protocol.name,
        track=spec.track,
        metric=spec.task.primary_metric,
    )


def run_folder(spec: RunSpec, identity: str) -> Path:
    """The run's own folder below the outputs, named from what it is and never from time or override strings."""
    return Path(spec.outputs) / spec.task_name.replace("/", "-") / spec.method.name / identity
