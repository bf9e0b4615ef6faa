"""Sweeps: checked whole before the first job, each job once, others' jobs left to them, and a sum at the end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.errors import SpecError
from experiments.run import execute
from experiments.sweep import sweep as sweep_module
from tests.experiments.conftest import ROOT, Runner
from tests.experiments.runs import folder_of, run


def errors(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("error: ")]


def said(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stdout.splitlines() if line.startswith("sweep: ")]


def test_all_refusals_are_told_before_the_first_job(tiny: list[str], run_py: Runner, tmp_path: Path) -> None:
    wrong = ["task=glue/sst2,glue/rte", "recipe.epochs=1,-1"]
    result = run_py("-m", *(word for word in tiny if not word.startswith("recipe.epochs")), "method=head", *wrong)
    assert result.returncode == 2
    assert len(errors(result)) == 2, result.stderr
    assert any("recipe.epochs=-1: not accepted" in line and "(2 of 4 jobs" in line for line in errors(result))
    assert any("rte" in line for line in errors(result))
    assert not (tmp_path / "outputs").exists()


def test_what_does_not_fit_one_job_is_refused_for_all(tiny: list[str], run_py: Runner, tmp_path: Path) -> None:
    result = run_py("-m", *tiny, "task=glue/sst2", "method=head,gpart", "d=64,99999999")
    assert result.returncode == 2
    (line,) = errors(result)
    assert "99999999" in line
    assert "method=gpart" in line, "the job is named"
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("values", ["range(0)", "range(3,3)"])
def test_an_empty_sweep_is_an_error(values: str, tiny: list[str], run_py: Runner, tmp_path: Path) -> None:
    result = run_py("-m", *tiny, "method=head", "task=glue/sst2", f"seed={values}")
    assert result.returncode == 2
    assert errors(result) == [f"error: seed={values}: a sweep over no value; accepted: at least one"]
    assert not (tmp_path / "outputs").exists()


def test_plans_of_a_sweep_write_nothing(tiny: list[str], run_py: Runner, tmp_path: Path) -> None:
    result = run_py("-m", *tiny, "method=gpart,lora", "task=glue/sst2", "plan=true")
    assert result.returncode == 0
    assert result.stdout.count("plan: ") == 2
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_sweep_with_a_failing_job_goes_on_and_repeats_that_alone(
    tiny: list[str], run_py: Runner, tmp_path: Path
) -> None:
    sweep = [
        "-m",
        *tiny,
        "method=full,head",
        "task=glue/sst2",
        "recipe.learning_rate=1e-3,1e30",
        "recipe.warmup_ratio=0",
    ]
    first = run_py(*sweep)
    assert first.returncode == 1
    assert said(first) == ["sweep: 4 jobs, 0 recorded, 4 to run", "sweep: 4 jobs, 3 ok, 1 not"]
    (line,) = errors(first)
    assert "full on glue/sst2: diverged" in line
    again = run_py(*sweep)
    assert again.returncode == 1, "a run that diverged is recorded, and it is still not ok"
    assert said(again) == ["sweep: 4 jobs, 4 recorded, 0 to run", "sweep: 4 jobs, 3 ok, 1 not"]
    assert not list((tmp_path / "outputs").rglob("previous"))


@pytest.mark.slow
def test_two_identical_sweeps_at_once_make_each_run_once_and_both_end_well(tiny: list[str], tmp_path: Path) -> None:
    sweep = ["-m", *tiny, "method=head", "task=glue/sst2", "recipe.epochs=40", "seed=0,1,2"]
    command = [sys.executable, str(ROOT / "run.py"), *sweep]
    two = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"]
    for process in two:
        out, printed = process.communicate(timeout=500)
        assert process.returncode == 0, printed
        assert "sweep: 3 jobs, 3 ok, 0 not" in out
    records = list((tmp_path / "outputs").rglob("record.json"))
    assert [json.loads(path.read_text())["outcome"] for path in records] == ["ok"] * 3
    assert not list((tmp_path / "outputs").rglob("previous")), "none was made twice"


@pytest.mark.slow
def test_a_single_run_waits_for_a_process_that_makes_it_already(tiny: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "run.py"), *tiny, "method=head", "task=glue/sst2", "recipe.epochs=60"]
    two = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"]
    printed = [process.communicate(timeout=500)[0] for process in two]
    assert [process.returncode for process in two] == [0, 0]
    assert sum("waiting for it" in text for text in printed) <= 1
    assert len(list((tmp_path / "outputs").rglob("record.json"))) == 1
    assert not list((tmp_path / "outputs").rglob("previous"))


def test_a_refused_rerun_leaves_the_earlier_record_where_it_was(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = [*tiny, "method=head", "task=glue/sst2"]
    first = run(*sound)
    folder = folder_of(tmp_path / "outputs", first["id"])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def refused(*_: object) -> None:
        raise SpecError(["data: its rows have changed; accepted: the rows of the record"])

    monkeypatch.setattr(execute, "_measure", refused)
    with pytest.raises(SpecError, match="have changed"):
        run(*sound, "rerun=true")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert run(*sound)["provenance"] == first["provenance"], "it still counts as done"


@pytest.mark.parametrize("name", ["file/below/x", "loop/x"])
def test_a_folder_that_the_disk_refuses_is_refused_before_anything_is_launched(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SpecError, match=rf"^outputs={tmp_path}/{name}: "), sweep_module._unless_empty(tmp_path / name):
        raise AssertionError("launched")


def test_folders_that_no_job_has_used_are_taken_away(tmp_path: Path) -> None:
    with sweep_module._unless_empty(tmp_path / "a/b"):
        assert (tmp_path / "a/b").is_dir()
    assert not list(tmp_path.iterdir())
    with sweep_module._unless_empty(tmp_path / "a/b"):
        (tmp_path / "a/b/record.json").touch()
    assert (tmp_path / "a/b/record.json").is_file()
