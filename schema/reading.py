"""Records of every version, read as the newest."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import ValidationError

from schema.identity import VERSION, run_id
from schema.marks import hashed
from schema.part import first_error
from schema.record import SCHEMA, Record
from schema.run import RunSpec
from schema.validation import shown

_RETIRED: Mapping[tuple[str, str], object] = {("task", "generation"): "transformers"}
"""Keys of a family at the values that records before them imply."""

_KEYS = frozenset(field.alias or name for name, field in Record.model_fields.items())


def read(values: object, without: Collection[str] = ()) -> Record:
    """The record of a `record.json`; one of schema 1 as if it had been written today, with identity 1.

    Args:
        values: what the file holds.
        without: parts that are left unread, as if nothing had been measured: `history` and `diagnostics` take most of
            the time, and few readers need them.

    Raises:
        ValueError: in one line, if it is of another version, lacks something, holds what no record holds, contradicts
            itself, or if its identity is not that of its id.
    """
    if not isinstance(values, Mapping) or values.get("schema") not in (1, SCHEMA):
        found = values.get("schema") if isinstance(values, Mapping) else type(values).__name__
        raise ValueError(f"schema={found}: unknown version of the record; accepted: 1, {SCHEMA}")
    own = _KEYS - {"identity"} if values["schema"] == 1 else _KEYS
    if missing := own - values.keys():
        raise ValueError(f"missing keys: {', '.join(sorted(missing))}; accepted: all of {', '.join(sorted(own))}")
    kept = {name: value for name, value in values.items() if name not in without}
    try:
        record = Record.model_validate(_raised(kept) if values["schema"] == 1 else kept)
    except ValidationError as error:
        raise ValueError(first_error(error)) from None
    _check(record)
    return record


def _raised(values: Mapping[str, object]) -> dict[str, object]:
    """A record of schema 1 in the shape of the newest."""
    config, key, provenance = (_mapping(values, name) for name in ("config", "key", "provenance"))
    references = {name: _mapping(provenance, name) for name in ("data_reference", "backbone_reference")}
    covered = {"trainer_version": 1, **hashed(RunSpec, config), **references}
    for (section, name), value in _RETIRED.items():
        inner = covered.get(section)
        if isinstance(inner, dict) and inner.get(name) == value:
            del inner[name]
    backbone, task = _mapping(config, "backbone"), _mapping(config, "task")
    size = backbone.get("image_size")
    named = key.get("backbone") if size is None else f"{key.get('backbone')}@{size}"
    return {
        **values,
        "schema": SCHEMA,
        "identity": {"version": VERSION - 1, "hashed": covered},
        "key": {**key, "backbone": named, "metric": task.get("primary_metric")},
    }


def _mapping(values: Mapping[str, object], name: str) -> Mapping[str, object]:
    """A part that has to be there for another to be made of it; an attempt that ended early has no references."""
    value = values.get(name, {} if name.endswith("_reference") else None)
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}={shown(value)}: not accepted; accepted: a mapping")
    return value


def _check(record: Record) -> None:
    """Refuse a record that says one thing twice in two ways, or whose content is not that of its id."""
    key, config = record.key, record.config
    twice = {
        "protocol": (key.protocol, record.protocol, config.protocol.name),
        "track": (key.track, record.track, config.track),
        "source": (key.source, config.data.source),
        "backbone": (key.backbone, config.backbone.label),
        "task": (key.task, ("embedded/" if key.source == "embedded" else "") + config.task.name),
        "metric": (key.metric, config.task.primary, record.metrics.primary or key.metric),
    }
    for name, (value, *others) in twice.items():
        for other in others:
            if value != other:
                raise ValueError(f"key.{name}={value}: the rest of the record says {other}; accepted: the same")
    identity = record.identity
    if identity.version == VERSION and run_id(identity.hashed) != record.id:
        raise ValueError(
            f"id={record.id}: identity.hashed is that of {run_id(identity.hashed)}, so that one of both was edited; "
            "accepted: a record as it was written"
        )
