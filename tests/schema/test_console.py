"""What the three command lines do with an output of another encoding, or one that takes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schema import console
from tests.analysis.conftest import record, write
from tests.conftest import ROOT

Ended = subprocess.CompletedProcess[bytes]
COMMANDS = (["-m", "analysis", "tables"], ["-m", "experiments", "status"])


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Two runs of one cell, so that its table has a sign that ASCII lacks; one failed with a name that it lacks."""
    for seed in (0, 1):
        write(tmp_path, record("gpart", seed, score=0.8))
    failed = record("lora", outcome="error", error={"type": "OSError", "message": "θ, \N{SNOWMAN}"})
    write(tmp_path, failed)
    return tmp_path


def ran(*words: str, stdout: int | None = subprocess.PIPE, **environment: str) -> Ended:
    variables = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, *words], stdout=stdout, stderr=subprocess.PIPE, cwd=ROOT, env=variables, check=False
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[1])
def test_any_encoding_will_do(command: list[str], environment: dict[str, str], outputs: Path) -> None:
    ended = ran(*command, str(outputs), **environment)
    assert ended.stderr == b""
    assert ended.returncode == (command[1] == "experiments")
    assert rb"theta, \u2603" in ended.stdout
    if command[1] == "analysis":
        sign = "±".encode("cp1252") if "cp1252" in environment.values() else b"+-"
        assert b"80.00 " + sign + b" 0.00 (n=2)" in ended.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", [*COMMANDS, ["run.py", "--help"]], ids=lambda words: words[-1])
def test_an_output_that_takes_nothing_ends_the_command_in_one_line(command: list[str], outputs: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = ran(*command, *([] if command[0] == "run.py" else [str(outputs)]), stdout=full.fileno())
    assert ended.returncode == 1
    assert ended.stderr.decode() == (
        "error: standard output: cannot be written (No space left on device); accepted: an output that takes it\n"
    )


def test_bad_input_of_any_encoding_is_one_line() -> None:
    ended = ran("run.py", "task=\N{SNOWMAN}", PYTHONIOENCODING="ascii")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(rb"error: task=\u2603: ")


def test_what_was_not_foreseen_is_a_traceback_that_ends_with_what_to_send(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise KeyError("a slip of ours")

    assert console.run(fail) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2] == "KeyError: 'a slip of ours'"
    assert lines[-1].startswith("this is a bug: ")
    assert "git rev-parse HEAD" in lines[-1]


def test_an_error_of_the_disk_that_is_none_of_the_output_is_not_foreseen(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise OSError(5, "Input/output error", "a file")

    assert console.run(fail) == 1
    assert capfd.readouterr().err.splitlines()[-1].startswith("this is a bug: ")
