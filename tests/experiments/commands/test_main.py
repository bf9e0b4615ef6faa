from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import __main__ as commands
from experiments.errors import RunFailed, SpecError
from experiments.run.signals import Interrupted

ROOT = Path(__file__).resolve().parents[3]


def test_a_command_is_answered_before_torch_is_imported() -> None:
    code = (
        "import sys, experiments.__main__\n"
        "print([name for name in ('torch', 'transformers', 'datasets', 'pandas', 'wandb') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("module", commands.COMMANDS, ids=lambda module: module.__name__)
def test_every_command_says_what_it_does(module: object, capsys: pytest.CaptureFixture[str]) -> None:
    parsers = argparse.ArgumentParser().add_subparsers()
    module.register(parsers)  # type: ignore[attr-defined]
    for name, parser in parsers.choices.items():
        assert callable(parser.get_default("execute"))
        with pytest.raises(SystemExit) as ended:
            commands.main([name, "--help"])
        assert ended.value.code == 0
        assert f"python -m experiments {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (SpecError(["a=1: wrong", "b=2: wrong"]), 2, "error: a=1: wrong\nerror: b=2: wrong\n"),
        (RunFailed("head on glue/sst2: diverged"), 1, "error: head on glue/sst2: diverged\n"),
        (Interrupted(15), 143, "error: ended by SIGTERM; what has been recorded stays\n"),
        (Interrupted(2), 130, "error: ended by SIGINT; what has been recorded stays\n"),
    ],
)
def test_what_goes_wrong_is_a_line_and_a_status(
    error: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr("experiments.commands.status_command._execute", fail)
    assert commands.main(["status"]) == status
    assert capsys.readouterr().err == said


def test_a_file_that_a_command_misses_itself_is_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: argparse.Namespace) -> int:
        raise LookupError("a slip of ours")

    monkeypatch.setattr("experiments.commands.status_command._execute", fail)
    assert commands.main(["status"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2:-1] == ["LookupError: a slip of ours"]
    assert lines[-1].startswith("this is a bug: ")
