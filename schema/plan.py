"""What is on disk of a run before it has ended: `spec.json` and `attempt.json`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from schema.key import Key
from schema.record import SCHEMA, Identity


class Plan(BaseModel):
    """What is to be run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, "the run's identity"]
    identity: Annotated[Identity, "what the id is the hash of"]
    key: Annotated[Key, "the table column that the run belongs to"]
    config: Annotated[dict[str, Any], "the resolved configuration"]


class Attempt(BaseModel):
    """Which process carries a run out."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schema_version: Annotated[int, "version of the record"] = Field(default=SCHEMA, alias="schema")
    id: Annotated[str, "the run's identity"]
    key: Annotated[Key, "as in the record"]
    process: Annotated[int, "its number on the host"]
    host: Annotated[str, "its name"]
    started: Annotated[str, "when the attempt began"]
    heartbeat: Annotated[str, "when the process was last alive, every 15 s"]
