"""The identity of a run, the cell of a table that it belongs to, and its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from experiments.families import spec_of
from schema import identity
from schema.run import RunSpec


def run_id(spec: RunSpec, data_reference: Mapping[str, object], backbone_reference: Mapping[str, object]) -> str:
    """The identity of a run: 12 hexadecimal digits.

    Args:
        spec: the run.
        data_reference: what the rows are (hub: name and revision; local: sha256 of the files; embedded: version).
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
