"""Recorded runs as runs of today: what `retry` and `reproduce` carry out again, from the record's own text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.configuration.recorded import refuse_code
from experiments.configuration.spec import stored
from experiments.errors import SpecError
from experiments.families import spec_of
from schema import validation
from schema.raising import raised
from schema.record import Provenance
from schema.run import RunSpec


def again(config: Mapping[str, object], where: Path) -> RunSpec:
    """The run of a recorded configuration of any schema, as `run.py` would be asked for it today.

    What only says how a run is started is as `run.py` has it: it runs, and once.

    Args:
        config: of a record or a plan.
        where: the file it is from, for error messages.

    Raises:
        SpecError: one line per key that no run of today has.
    """
    task = config.get("task")
    section = spec_of(str(task.get("family")) if isinstance(task, Mapping) else "")
    own = {**raised(section, config), "plan": False, "check": False, "rerun": False}
    if errors := validation.errors(section, own):
        raise SpecError(f"{where}: {line}" for line in errors)
    refuse_code(own)
    return stored(own)


@dataclass(frozen=True)
class Folders:
    """Where data and weights lie now; None: where the record says.

    Attributes:
        local: in place of the record's own `local`, and of that as the beginning of its other paths.
        data: in place of `data.path`.
        backbone: in place of `backbone.path`.
    """

    local: str | None = None
    data: str | None = None
    backbone: str | None = None


def moved(spec: RunSpec, folders: Folders) -> RunSpec:
    """The run with its data and backbone in the folders of now."""
    changes: dict[str, Any] = {"local": folders.local or spec.local}
    for name, folder in (("data", folders.data), ("backbone", folders.backbone)):
        section = getattr(spec, name)
        path = folder or _below(section.path, spec.local, folders.local)
        changes[name] = section.model_copy(update={"path": path})
    return spec.model_copy(update=changes)


def _below(path: str | None, old: str | None, new: str | None) -> str | None:
    """A path below the old folder at its place below the new one; any other as it is."""
    if path is None or old is None or new is None or not Path(path).is_relative_to(old):
        return path
    return (Path(new) / Path(path).relative_to(old)).as_posix()


def pinned(spec: RunSpec, provenance: Provenance) -> RunSpec:
    """The run with the hub's commits that a record names, in place of the names by which they were found."""
    data, weights = (found.get("commit") for found in (provenance.data_reference, provenance.backbone_reference))
    changes: dict[str, Any] = {}
    if isinstance(data, str):
        hub = spec.task.hub.model_copy(update={"revision": data})
        changes["task"] = spec.task.model_copy(update={"hub": hub})
    if isinstance(weights, str):
        changes["backbone"] = spec.backbone.model_copy(update={"revision": weights})
    return spec.model_copy(update=changes)
