"""Runs of conf/ in this process, and where their records are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from experiments.configuration.overrides import CONF
from experiments.configuration.spec import parse
from experiments.records import record
from experiments.run import execute, preflight, runner
from experiments.run.subject import Subject
from schema.record import Record
from schema.run import RunSpec


def spec_of(*overrides: str) -> RunSpec:
    """The run that these overrides of run.py ask for."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return parse(compose("config", list(overrides)))[0]


def recorded(*overrides: str) -> Record:
    """The record of one run, made in this process."""
    result = runner.run(spec_of(*overrides, "isolation=none"))
    assert result is not None
    return result


def run(*overrides: str) -> dict[str, Any]:
    """The record of one run, as `record.json` holds it."""
    return recorded(*overrides).model_dump(by_alias=True)


def folder_of(outputs: Path, identity: str) -> Path:
    (path,) = outputs.rglob(f"{identity}/record.json")
    return path.parent


def loaded(spec: RunSpec) -> Subject:
    """A run up to the point where it would train."""
    prepared = preflight.prepare(spec)
    return execute._load(prepared, record.blank(prepared.plan(spec)))
