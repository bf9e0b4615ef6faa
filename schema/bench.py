"""The bench record: what `python -m experiments bench` writes (docs/RECORD.md), as far as readers need it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

SCHEMA = 1
"""The version of the bench record."""


class _Open(BaseModel):
    """A part whose other keys are kept beside."""

    model_config = ConfigDict(extra="allow", strict=True)


class Setting(_Open):
    """The file of `conf/bench`, resolved."""

    baseline: str
    contenders: dict[str, JsonValue]
    authors: dict[str, JsonValue] | None = None

    @property
    def configs(self) -> dict[str, JsonValue]:
        """The configuration of every method that was measured, by its name."""
        return {**self.contenders, **(self.authors or {})}


class Targets(_Open):
    """What was measured on one set of targets, by method: a number, or a list per round of one per step."""

    measured: dict[str, dict[str, Any]]


class BenchProvenance(_Open):
    """Where the measurements come from."""

    hardware: dict[str, JsonValue]
    packages: dict[str, str] | None = None
    git_sha: str | None = None
    git_dirty: bool | None = None


class BenchRecord(_Open):
    """One setting, measured in turns."""

    schema_version: int = Field(alias="schema")
    bench: str
    setting: Setting
    rounds: int
    steps: int
    threads: int
    device: str
    targets: dict[str, Targets]
    provenance: BenchProvenance
