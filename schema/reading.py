"""Records of every version, read as the newest."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from schema import consistency
from schema.identity import VERSION
from schema.marks import hashed
from schema.part import first_error
from schema.record import SCHEMA, Record
from schema.run import RunSpec
from schema.validation import shown

_RETIRED: Mapping[tuple[str, str], object] = {("task", "generation"): "transformers"}
"""Keys of a family at the values that records before them imply."""

_KEYS = frozenset(field.alias or name for name, field in Record.model_fields.items()) - {"digest"}


class NewerRecord(ValueError):  # noqa: N818  no error of the record's
    """A record that a later version of the suite wrote, which is to be left as it is."""


def read(values: object) -> Record:
    """The record of a `record.json`; one of schema 1 as if it had been written today, with identity 1.

    Args:
        values: what the file holds.

    Raises:
        NewerRecord: if it is of a later version.
        ValueError: in one line, if it is of no known version, lacks something, holds what no record holds, or
            contradicts itself.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"a JSON {type(values).__name__}; accepted: the object that a run writes")
    version = _version(values)
    own = _KEYS - {"identity"} if version == 1 else _KEYS
    if missing := own - values.keys():
        raise ValueError(f"missing keys: {', '.join(sorted(missing))}; accepted: all of {', '.join(sorted(own))}")
    try:
        record = Record.model_validate(_raised(values) if version == 1 else values)
    except ValidationError as error:
        raise ValueError(first_error(error)) from None
    for problem in consistency.problems(record, values["config"]):
        raise ValueError(problem)
    return record


def _version(values: Mapping[str, object]) -> int:
    version, identity = values.get("schema"), values.get("identity")
    covered = identity.get("version") if isinstance(identity, Mapping) else None
    for name, value, newest in (("schema", version, SCHEMA), ("identity.version", covered, VERSION)):
        if type(value) is int and value > newest:
            raise NewerRecord(f"{name}={value}: of a later version of the suite; accepted: 1, {newest}")
    if type(version) is not int or version < 1:
        raise ValueError(f"schema={shown(version)}: unknown version of the record; accepted: 1, {SCHEMA}")
    return version


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
