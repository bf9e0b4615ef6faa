"""Signals to a run's parent, to its process and to both: how it ends, what is left, what the next command does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM

import psutil
import pytest

from experiments.records import lock
from experiments.records.status import status
from tests.experiments.conftest import ROOT

LONG = 3000
"""Epochs of a run that is still training when the signal arrives."""

# To whom which signal, the sweep's exit status, how its first job is recorded, whether the second one is run.
TABLE = [
    ("parent", SIGINT, 130, "interrupted", False),
    ("parent", SIGTERM, 143, "interrupted", False),
    ("parent", SIGKILL, -9, "interrupted", False),
    ("child", SIGTERM, 1, "interrupted", True),
    ("child", SIGKILL, 1, "out_of_memory", True),
    ("group", SIGINT, 130, "interrupted", False),
    ("group", SIGHUP, 129, "interrupted", False),
    ("group", SIGKILL, -9, "cut off", False),
]


@contextmanager
def started(*overrides: str) -> Iterator[subprocess.Popen[str]]:
    """`python run.py OVERRIDES` in a process group of its own; nothing of it is alive afterwards."""
    command = [sys.executable, str(ROOT / "run.py"), *overrides]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield process
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for one in [*children, process]:
            one.kill()
        process.communicate()


def child_of(outputs: Path, patience: float = 240.0) -> int:
    """The process of the run that is going on below a folder."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        for path in outputs.rglob("attempt.json"):
            if "previous" not in path.parts and lock.is_held(path.parent):
                return int(json.loads(path.read_text())["process"])
        time.sleep(0.1)
    raise AssertionError(f"no run began within {patience} s")


def ended(process: int, patience: float = 10.0) -> bool:
    """Whether a process ends within so many seconds."""
    try:
        psutil.Process(process).wait(patience)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def outcomes(outputs: Path) -> dict[float, str]:
    """By epochs how each run below a folder is recorded."""
    found = [json.loads(path.read_text()) for path in outputs.rglob("record.json")]
    return {record["config"]["recipe"]["epochs"]: record["outcome"] for record in found}


@pytest.fixture
def one(tiny: list[str]) -> list[str]:
    return [*(word for word in tiny if not word.startswith("recipe.epochs")), "method=head", "task=glue/sst2"]


@pytest.mark.slow
@pytest.mark.parametrize(("whom", "number", "expected", "outcome", "goes_on"), TABLE)
def test_a_signal(
    whom: str, number: int, expected: int, outcome: str, goes_on: bool, one: Sequence[str], tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    with started("-m", *one, f"recipe.epochs={LONG},1") as sweep:
        child = child_of(outputs)
        time.sleep(1)
        if whom == "group":
            os.killpg(sweep.pid, number)
        else:
            os.kill(sweep.pid if whom == "parent" else child, number)
        _, printed = sweep.communicate(timeout=240)
        assert ended(child), "the process of the run ends with its parent"
    recorded = {} if outcome == "cut off" else {LONG: outcome}
    assert outcomes(outputs) == {**recorded, **({1: "ok"} if goes_on else {})}
    assert sweep.returncode == expected
    assert f"1 {outcome}" in status(outputs)[0]
    assert not list(outputs.rglob(".*.json.*")), "no temporary file"
    if (whom, number) == ("child", SIGKILL):
        assert "SIGKILL" in printed
    if expected in (130, 143, 129):
        (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
        assert signal.Signals(number).name in line


@pytest.mark.slow
@pytest.mark.parametrize(("whom", "number"), [("parent", SIGKILL), ("group", SIGKILL)])
def test_the_next_command_runs_it_again(whom: str, number: int, one: Sequence[str], tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    with started(*one, f"recipe.epochs={LONG}") as first:
        child = child_of(outputs)
        (os.killpg if whom == "group" else os.kill)(first.pid, number)
        with started(*one, f"recipe.epochs={LONG}") as second:  # at once: it waits for a process that is still ending
            successor = child
            while successor == child:
                successor = child_of(outputs)
            assert not psutil.pid_exists(child), "never two processes in one folder"
            second.send_signal(SIGINT)
            second.wait(60)
    assert second.returncode == 130
    (folder,) = {path.parent for path in outputs.rglob("record.json")}
    assert [path.name for path in (folder / "previous").iterdir()] == ["1"], "what the first one left is kept"


@pytest.mark.slow
def test_a_terminal_that_closes_does_not_end_what_nohup_protects(one: Sequence[str], tmp_path: Path) -> None:
    command = ["nohup", sys.executable, str(ROOT / "run.py"), *one, "recipe.epochs=1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        child = child_of(tmp_path / "outputs")
        for number in (process.pid, child):
            os.kill(number, SIGHUP)
        assert process.wait(240) == 0
    assert outcomes(tmp_path / "outputs") == {1: "ok"}
