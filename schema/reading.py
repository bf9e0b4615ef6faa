"""Records of every version, read as the newest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schema.identity import parts
from schema.record import IDENTITY, SCHEMA, Record

_RETIRED: Mapping[tuple[str, str], object] = {("task", "generation"): "transformers"}
"""Keys of a family at the values that records before them imply."""


def read(values: Mapping[str, Any]) -> Record:
    """The record of a `record.json`; one of schema 1 as if it had been written today, with identity 1.

    Raises:
        ValueError: if it is of another version, lacks something, or holds what no record holds.
    """
    version = values.get("schema")
    if version == 1:
        values = _raised(values)
    elif version != SCHEMA:
        raise ValueError(f"schema={version}: unknown version of the record; accepted: 1, {SCHEMA}")
    return Record.model_validate(values)


def _raised(values: Mapping[str, Any]) -> dict[str, Any]:
    """A record of schema 1 in the shape of the newest."""
    config, provenance = values["config"], values["provenance"]
    hashed = parts(config, provenance.get("data_reference") or {}, provenance.get("backbone_reference") or {})
    for (section, name), value in _RETIRED.items():
        inner = hashed.get(section)
        if isinstance(inner, dict) and inner.get(name) == value:
            del inner[name]
    size = config["backbone"].get("image_size")
    backbone = config["backbone"]["name"]
    key = {
        **values["key"],
        "backbone": backbone if size is None else f"{backbone}@{size}",
        "metric": config["task"]["primary_metric"],
    }
    identity = {"version": IDENTITY - 1, "hashed": hashed}
    return {**values, "schema": SCHEMA, "identity": identity, "key": key}
