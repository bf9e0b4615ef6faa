"""A launcher that cannot take the jobs is refused before anything is composed; what jobs raise reaches the sweep."""

from __future__ import annotations

import pickle

import pytest

from experiments.configuration.command_line import CommandLine
from experiments.errors import RunFailed, SpecError, Unforeseen
from experiments.records.lock import Busy
from experiments.run.signals import Interrupted
from experiments.sweep import launcher
from experiments.sweep.launcher import launcher_errors


def test_a_single_run_has_no_launcher() -> None:
    (line,) = launcher_errors(CommandLine.of(["hydra/launcher=basic", "seed=0"]))
    assert line.startswith("hydra/launcher=basic: takes the jobs of a sweep; accepted: with --multirun (-m)")
    assert launcher_errors(CommandLine.of(["-m", "hydra/launcher=basic", "seed=0"])) == []


def test_one_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(launcher._PLUGINS, "ray", ("ray", "hydra_plugins.no_such_launcher"))
    (line,) = launcher_errors(CommandLine.of(["-m", "hydra/launcher=ray"]))
    assert line == "hydra/launcher=ray: not installed; accepted: basic, or with the extra ray (docs/CLUSTER.md)"


@pytest.mark.parametrize(
    "error",
    [SpecError(["a", "b"]), RunFailed("a"), Unforeseen("a"), Busy("a"), Interrupted(15)],
    ids=lambda error: type(error).__name__,
)
def test_what_a_job_raises_comes_whole_from_its_process(error: BaseException) -> None:
    # joblib loses the jobs that are left when an exception cannot be read back.
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
