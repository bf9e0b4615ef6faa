"""A launcher that cannot take the jobs is refused before anything is composed."""

from __future__ import annotations

import pytest

from experiments.configuration.command_line import CommandLine
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
