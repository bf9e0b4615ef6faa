"""One run on two processes of torchrun: the numbers of one process, one record, and an end for all of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from experiments.errors import SpecError
from experiments.run import processes
from experiments.run.sharing import Share
from schema.record import Record
from tests.experiments.conftest import ROOT
from tests.experiments.runs import folder_of, recorded, spec_of

Launch = Callable[..., "subprocess.Popen[str]"]

GLUE = ("profile=embedded", "task=glue/sst2", "recipe.epochs=2", "data.train_rows=122")
"""97 rows train, so that the last batch of an epoch has one, and one of the processes has none of it."""


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts run.py on two processes as torchrun does; whatever it has started has ended in the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        command = [*launcher, str(ROOT / "run.py"), *arguments, "logger=disabled", f"outputs={tmp_path / 'two'}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        child = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=environment)
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
    assert _left(tmp_path) == []


def _left(outputs: Path) -> list[psutil.Process]:
    """The processes that are still there a moment after the end of their run."""
    found = [process for process in psutil.process_iter() if str(outputs) in " ".join(_words(process))]
    return psutil.wait_procs(found, timeout=10)[1]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _ended(child: subprocess.Popen[str]) -> tuple[str, list[str], str]:
    """What the processes printed together, their lines of error, and torchrun's report of their exit status."""
    printed, told = child.communicate(timeout=600)
    return printed, [line for line in told.splitlines() if line.startswith("error: ")], told


def _the_record(outputs: Path) -> Record:
    (path,) = outputs.rglob("record.json")
    return Record.model_validate(json.loads(path.read_text()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        (*GLUE, "method=full"),
        (*GLUE, "method=gpart", "recipe.accumulation=3", "recipe.label_smoothing=0.1", "recipe.group_by_length=true"),
        (*GLUE, "method=lora", "task=glue/stsb", "recipe.accumulation=2"),
        (
            *("profile=embedded", "task=vision/digits", "method=gpart", "recipe.epochs=1", "data.train_rows=161"),
            "+task.mixing.mixup_alpha=0.8",
        ),
        (
            *("profile=embedded", "task=math/gsm8k", "method=lora", "recipe.epochs=1", "data.train_rows=101"),
            *("+task.packing=true", "recipe.batch_size=4", "recipe.accumulation=2"),
            "recipe.learning_rate=1e-3",  # AdamW's steps are of this size, however small a gradient and its rounding
        ),
    ],
    ids=lambda overrides: " ".join(overrides[1:]),
)
def test_two_processes_give_the_numbers_of_one(overrides: tuple[str, ...], launch: Launch, tmp_path: Path) -> None:
    wanted = (*overrides, "recipe.dropout=0", "data.test_rows=20")
    child = launch(*wanted)
    one = recorded(*wanted, "logger=disabled", f"outputs={tmp_path / 'one'}")
    printed, errors, _ = _ended(child)
    assert (child.returncode, errors) == (0, [])
    assert printed.count("record.json") == 1
    two = _the_record(tmp_path / "two")
    assert (one.id, one.provenance.processes) == (two.id, 1)
    assert two.provenance.processes == 2
    assert _numbers(two) == pytest.approx(_numbers(one), abs=1e-5)
    assert two.history.best_epoch == one.history.best_epoch
    ours, theirs = (_trained(tmp_path / name, one.id) for name in ("two", "one"))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if name.endswith("key.bias"):
            continue  # softmax does not see it: its gradient is rounding alone, which AdamW takes to its full rate
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=1e-5)


def _numbers(result: Record) -> list[float]:
    """Losses and rates of every step, scores of every epoch and of the end."""
    steps = [number for step in result.history.steps for number in step.model_dump().values() if number is not None]
    scores = [*(epoch.selection for epoch in result.history.epochs), result.metrics.selection, result.metrics.test]
    return steps + [score for part in scores for score in (part or {}).values() if score is not None]


def _trained(outputs: Path, identity: str) -> dict[str, torch.Tensor]:
    (file,) = (folder_of(outputs, identity) / "checkpoint").glob("*.safetensors")
    return load_file(file)


@pytest.mark.slow
def test_a_sweep_takes_its_jobs_in_turn_and_does_none_twice(launch: Launch, tmp_path: Path) -> None:
    sweep = ("-m", *GLUE, "recipe.epochs=1", "method=head,gpart")
    child = launch(*sweep)
    assert _ended(child)[1] == []
    assert child.returncode == 0
    records = {path: path.read_bytes() for path in (tmp_path / "two").rglob("record.json")}
    assert len(records) == 2
    again = launch(*sweep)
    printed, _, _ = _ended(again)
    assert again.returncode == 0
    assert "recorded" in printed
    assert {path: path.read_bytes() for path in (tmp_path / "two").rglob("record.json")} == records


@pytest.mark.slow
def test_bad_input_is_refused_in_one_line(launch: Launch, tmp_path: Path) -> None:
    child = launch(*GLUE, "recipe.batch_size=15")
    _, (line,), told = _ended(child)
    assert "recipe.batch_size=15: 2 processes share each batch; accepted: a multiple of 2" in line
    assert "exitcode  : 2" in told, "torchrun itself ends with 1, and says so"
    assert not (tmp_path / "two").exists()


@pytest.mark.slow
def test_a_run_that_diverges_is_recorded_once(launch: Launch, tmp_path: Path) -> None:
    child = launch(*GLUE, "method=full", "recipe.learning_rate=1e30", "recipe.warmup_ratio=0")
    _, errors, told = _ended(child)
    assert len(errors) == 1
    assert "diverged" in errors[0]
    assert "exitcode  : 1" in told
    assert _the_record(tmp_path / "two").outcome == "diverged"


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_all_and_the_record_names_it(rank: int, launch: Launch, tmp_path: Path) -> None:
    child = launch(*GLUE, "method=lora", "recipe.epochs=2000")
    victim = _trains(child, tmp_path / "two", rank)
    victim.send_signal(signal.SIGKILL)
    _, errors, _ = _ended(child)
    assert child.returncode == 1
    assert len(errors) == 1
    result = _the_record(tmp_path / "two")
    assert result.outcome == "out_of_memory", "what an unasked SIGKILL is taken for"
    assert result.error is not None
    assert ("process 1 of 2" if rank else "the run's process") + " was killed by SIGKILL" in result.error.message


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_launcher_is_recorded_as_an_interruption(
    number: signal.Signals, launch: Launch, tmp_path: Path
) -> None:
    child = launch(*GLUE, "method=lora", "recipe.epochs=2000")
    _trains(child, tmp_path / "two", 0)
    child.send_signal(number)
    _ended(child)
    assert _the_record(tmp_path / "two").outcome == "interrupted"


def _trains(child: subprocess.Popen[str], outputs: Path, rank: int) -> psutil.Process:
    """The process of a run that trains on this rank, once it does."""
    while not list(outputs.rglob("trainer")):
        assert child.poll() is None
        time.sleep(0.2)
    module = "experiments.run.assistant" if rank else "experiments.run.process"
    started = psutil.Process(child.pid).children(recursive=True)
    return next(process for process in started if module in _words(process))


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8])
def test_the_shares_of_a_batch_are_its_rows_in_order(rows: int, size: int) -> None:
    def collated(batch: object) -> dict[str, torch.Tensor]:
        return {"labels": torch.tensor(batch)}

    shares = [Share(collated, rank, size)(list(range(rows))) for rank in range(size)]
    assert [row for share in shares for row in share["labels"].tolist() if row != -100] == list(range(rows))
    assert max(len(share["labels"]) for share in shares) == -(-rows // size), "no process has more than its part"
    assert all(len(share["labels"]) for share in shares), "each has a row to compute with"


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.mark.usefixtures("two")
def test_what_does_not_suit_several_processes_is_refused(tiny: list[str]) -> None:
    assert processes.errors(spec_of(*tiny)) == []
    (line,) = processes.errors(spec_of(*tiny, "recipe.batch_size=7"))
    assert line.startswith("recipe.batch_size=7: ")
    (line,) = processes.errors(spec_of(*tiny, "isolation=none"))
    assert line.startswith("isolation=none: ")


@pytest.mark.usefixtures("two")
def test_processes_share_no_accelerator(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    (line,) = processes.errors(spec_of(*tiny))
    assert line.startswith("--nproc-per-node=2: 1 accelerators are visible")


@pytest.mark.usefixtures("two")
def test_a_process_that_a_launcher_of_sweeps_started_gives_no_orders(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="hydra/launcher"), processes.together(tmp_path):
        pass
