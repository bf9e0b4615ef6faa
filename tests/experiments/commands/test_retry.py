from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.commands.retry import unfinished
from experiments.records import record
from experiments.records.lock import held
from tests.experiments.runs import folder_of, run


def ran(tiny: list[str], outputs: Path, method: str) -> Path:
    result = run(*tiny, f"method={method}", "task=glue/sst2", "recipe.epochs=1")
    return folder_of(outputs, result["id"])


def failed(folder: Path, outcome: str) -> Path:
    """The folder with a record that says so."""
    content = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    del content["digest"]  # as before records had one
    error = {"type": "Stopped", "message": "by hand", "traceback": None}
    record.write_json(folder / "record.json", {**content, "outcome": outcome, "error": error})
    return folder


def cut_off(folder: Path) -> Path:
    """The folder as a killed process leaves it."""
    (folder / "record.json").unlink()
    return folder


@pytest.fixture
def outputs(tiny: list[str], tmp_path: Path) -> Path:
    """Three runs: one that is done, one that failed, one that was cut off."""
    folder = tmp_path / "outputs"
    ran(tiny, folder, "head")
    failed(ran(tiny, folder, "gpart"), "error")
    cut_off(ran(tiny, folder, "lora"))
    return folder


def outcomes(outputs: Path) -> dict[str, str]:
    found = {path.parents[1].name: record.read(path.parent) for path in outputs.rglob("record.json")}
    return {method: result.outcome for method, result in found.items() if result is not None}


@pytest.mark.slow
def test_what_is_not_done_is_run_again_from_its_own_text(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = {path: path.read_bytes() for path in outputs.rglob("head/*/record.json")}
    assert main(["retry", str(outputs)]) == 0
    assert capsys.readouterr().out.endswith("2 of 2 runs are done now\n")
    assert outcomes(outputs) == {"head": "ok", "gpart": "ok", "lora": "ok"}
    assert {path: path.read_bytes() for path in done} == done
    assert main(["retry", str(outputs)]) == 0
    assert capsys.readouterr().out == "0 of 0 runs are done now\n"


@pytest.mark.slow
def test_runs_are_chosen_by_how_they_ended_and_those_that_go_on_are_left_alone(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retry", str(outputs), "--outcome", "interrupted,out_of_memory"]) == 0
    assert main(["retry", str(outputs), "--outcome", "cut_off"]) == 0
    assert outcomes(outputs) == {"head": "ok", "gpart": "error", "lora": "ok"}
    (lock,) = outputs.rglob("gpart/*/lock")
    with held(lock.parent):
        assert main(["retry", str(outputs)]) == 1
    assert capsys.readouterr().out.endswith("0 of 0 runs are done now; 1 are going on\n")
    assert outcomes(outputs)["gpart"] == "error"


@pytest.mark.slow
def test_a_run_that_is_refused_costs_no_other(
    outputs: Path, tiny_glue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = outputs.rglob("gpart/*/record.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["config"]["data"]["path"] = str(tiny_glue / "nowhere")  # not hashed: the id stays
    record.write_json(path, content)
    assert main(["retry", str(outputs)]) == 1
    said = capsys.readouterr()
    assert said.out.endswith("1 of 2 runs are done now\n")
    assert "nowhere" in said.err
    assert outcomes(outputs)["lora"] == "ok"


def test_every_text_that_is_no_run_of_today_is_named_before_the_first_is_run(tiny: list[str], tmp_path: Path) -> None:
    folder = cut_off(ran(tiny, tmp_path / "outputs", "head"))
    plan = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    plan["config"]["recipe"]["momentum"] = 0.9
    record.write_json(folder / "spec.json", plan)
    other = tmp_path / "outputs" / "glue-sst2" / "lora" / "0123456789ab"
    other.mkdir(parents=True)
    (other / "attempt.json").touch()
    with pytest.raises(
        ValueError, match=r"(?s)spec.json: recipe.momentum: unknown key.*neither a record nor a spec.json"
    ):
        unfinished(tmp_path / "outputs")


@pytest.mark.parametrize("outcome", ["ok", "of,error"])
def test_outcomes_that_need_no_retry_are_not_accepted(outcome: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["retry", "--outcome", outcome])
    assert ended.value.code == 2
    assert "unknown; accepted: out_of_memory, interrupted, error, cut_off" in capsys.readouterr().err
