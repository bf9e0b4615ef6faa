"""What all parts of a record have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of a record: every key is always there, and null where nothing was measured."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=(), populate_by_name=True)
