"""Where a run's identity meets the disk: its folder, and the sha256 of files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from experiments.families import spec_of
from schema import identity
from schema.run import RunSpec


def file_digest(path: Path) -> str:
    """sha256, in hex, of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_id(spec: RunSpec, data_reference: Mapping[str, object], backbone_reference: Mapping[str, object]) -> str:
    """The identity of a run: 12 hexadecimal digits.

    Args:
        spec: the run.
        data_reference: what the rows are (`experiments.data.source.Source.reference`).
        backbone_reference: what the weights are (hub: name and revision; local: sha256; embedded: recipe hash).
    """
    parts = identity.parts(spec.config, data_reference, backbone_reference, spec_of(spec.task.family))
    return identity.run_id(parts)


def cell_key(spec: RunSpec, subset: str) -> dict[str, str]:
    """The key of the table cell that a run belongs to; numbers with different keys never share a column.

    Args:
        spec: the run.
        subset: the name of the rows used, "full" or as `experiments.data.sources` names a subset.
    """
    return {
        "task": spec.task_name,
        "source": spec.data.source,
        "subset": subset,
        "backbone": spec.backbone.name,
        "protocol": spec.protocol.name,
        "track": spec.track,
    }


def run_folder(spec: RunSpec, identity: str) -> Path:
    """The run's own folder below the outputs, named from what it is and never from time or override strings."""
    return Path(spec.outputs) / spec.task_name.replace("/", "-") / spec.method.name / identity
