"""Runs of conf/ whose rows are somewhere."""

from __future__ import annotations

from functools import cache

from hydra import compose, initialize_config_dir

from experiments.configuration.overrides import CONF
from experiments.configuration.spec import parse
from experiments.data import sources
from experiments.data.sources import Source
from schema.run import RunSpec
from schema.sections import Data, Protocol


@cache
def composed(*overrides: str) -> RunSpec:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return parse(compose("config", ["method=head", *overrides]))[0]


def run_of(task: str, data: Data, *overrides: str, protocol: str = "heldout") -> RunSpec:
    """A run on a task of conf/, with these rows."""
    changed = {"data": data, "protocol": Protocol.model_validate({"name": protocol})}
    return composed(f"task={task}", *overrides).model_copy(update=changed)


def source_of(task: str, data: Data, *overrides: str) -> Source:
    """Where the rows of such a run are."""
    run = run_of(task, data, *overrides)
    return sources.source_of(run.task, run.data, timeout=3)
