"""Whole runs of run.py on a tiny real encoder and tiny real data: records, repetition, failures, refusals."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest

from experiments.configuration.overrides import options
from experiments.errors import RunFailed, SpecError
from experiments.run import runner
from tests.experiments.conftest import Runner
from tests.experiments.runs import folder_of, run, spec_of


@pytest.mark.parametrize("method", [name for name in options("method") if name != "untrained"])
def test_every_method_goes_from_config_to_record(method: str, tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, f"method={method}", "task=glue/sst2"]
    result = run(*overrides)
    assert result["outcome"] == "ok"
    assert result["config"] == spec_of(*overrides, "isolation=none").model_dump(mode="json"), "key for key"
    assert result["key"] == {
        "task": "glue/sst2",
        "source": "local",
        "subset": "full",
        "backbone": "encoder",
        "protocol": "heldout",
        "track": "unsearched",
        "metric": "accuracy",
    }
    trip = result["round_trip"]
    assert trip["reload"]["max_abs_logit_difference"] <= 1e-5
    if method in ("gpart", "lora", "unilora", "vera"):
        assert trip["merge"]["max_abs_logit_difference"] <= 1e-5
        assert trip["unmerge"]["max_abs_logit_difference"] <= 1e-5
    predictions = pd.read_parquet(folder_of(tmp_path / "outputs", result["id"]) / "predictions.parquet")
    test = predictions[predictions["split"] == "test"]
    assert sorted(test["example_id"]) == list(range(1000, 1040))
    assert (test["label"] == test["prediction"]).mean() == pytest.approx(result["metrics"]["test"]["accuracy"])
    sizes = result["sizes"]
    assert sizes["trainable"] == sizes["theta"] + sizes["head"]


@pytest.mark.parametrize("task", ["mrpc", "stsb"])
def test_pairs_and_regression(task: str, tiny: list[str]) -> None:
    result = run(*tiny, "method=gpart", f"task=glue/{task}")
    assert set(result["metrics"]["test"]) == ({"accuracy", "f1"} if task == "mrpc" else {"pearson", "spearman"})


def test_best_on_dev_has_no_test_score(tiny: list[str]) -> None:
    result = run(*tiny, "method=head", "task=glue/sst2", "protocol=best_on_dev")
    assert result["metrics"]["test"] is None
    scores = [epoch["selection"]["accuracy"] for epoch in result["history"]["epochs"]]
    assert result["metrics"]["selection"]["accuracy"] == max(scores)
    assert result["history"]["best_epoch"] == 1 + scores.index(max(scores))


def test_a_search_trial_never_sees_the_test_split(tiny: list[str], tmp_path: Path) -> None:
    result = run(*tiny, "method=head", "task=glue/sst2", "test=false")
    assert result["metrics"]["test"] is None
    predictions = pd.read_parquet(folder_of(tmp_path / "outputs", result["id"]) / "predictions.parquet")
    assert set(predictions["split"]) == {"selection"}


def test_the_same_run_twice_gives_the_same_bits_and_is_run_once(tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "method=gpart", "task=glue/sst2", "recipe.dropout=0.1"]
    first = run(*overrides)
    again = run(*overrides)
    assert again["provenance"]["finished"] == first["provenance"]["finished"], "taken from the record, not run"
    rerun = run(*overrides, "rerun=true")
    assert (rerun["id"], rerun["metrics"], rerun["history"]) == (first["id"], first["metrics"], first["history"])
    folder = folder_of(tmp_path / "outputs", first["id"])
    kept = json.loads((folder / "previous" / "1" / "previous-record.json").read_text())
    assert kept["provenance"]["finished"] == first["provenance"]["finished"]


def test_identity_ignores_paths_and_sees_everything_else(tiny: list[str], tiny_glue: Path, tmp_path: Path) -> None:
    overrides = [*tiny, "method=head", "task=glue/sst2", "recipe.epochs=1"]
    first = run(*overrides)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tiny_glue, elsewhere)
    assert run(*overrides, f"data.path={elsewhere}")["id"] == first["id"]
    assert run(*overrides, "seeds.head=1")["id"] != first["id"]
    frame = pd.read_parquet(elsewhere / "glue/sst2/train.parquet")
    frame.loc[0, "sentence"] = "w1 w2 w3 w4"
    frame.to_parquet(elsewhere / "glue/sst2/train.parquet", index=False)
    assert run(*overrides, f"data.path={elsewhere}")["id"] != first["id"]


def test_a_loss_that_is_not_finite_is_recorded_as_diverged(tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "method=full", "task=glue/sst2", "recipe.learning_rate=1e30", "recipe.warmup_ratio=0"]
    with pytest.raises(RunFailed, match="diverged"):
        run(*overrides)
    (path,) = (tmp_path / "outputs").rglob("record.json")
    result = json.loads(path.read_text())
    assert result["outcome"] == "diverged"
    assert result["metrics"]["test"] is None


def test_a_refused_run_leaves_nothing_behind(tiny: list[str], tiny_glue: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_glue, broken)
    frame = pd.read_parquet(broken / "glue/sst2/train.parquet")
    frame.loc[3, "label"] = 7
    frame.to_parquet(broken / "glue/sst2/train.parquet", index=False)
    with pytest.raises(SpecError, match="example id 1003"):
        run(*tiny, f"data.path={broken}", "method=gpart", "task=glue/sst2")
    assert not (tmp_path / "outputs").exists()


def test_plan_loads_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = spec_of("plan=true", "method=gpart", "d=23040", f"outputs={tmp_path / 'outputs'}")
    assert runner.run(spec) is None
    printed = capsys.readouterr().out
    assert "23,040" in printed
    assert "592,130" in printed, "RoBERTa-base's classification head"
    assert f"{24 * 768 * 768:,}" in printed, "query and value of 12 layers"
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["d=999999"], "d"),
        (["backbone.target_modules=[nothing]"], "nothing"),
        (["backbone.path=/nowhere"], "backbone.path=/nowhere"),
        (["data.path=/nowhere"], "data.path=/nowhere"),
        (["task=glue/rte"], "rte"),
        (["data.train_rows=100000"], "100000"),
        (["method.config.scheme=magic"], "magic"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_read(
    overrides: list[str], complaint: str, tiny: list[str], tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=complaint) as refusal:
        run(*tiny, "method=gpart", *overrides)
    assert all("\n" not in line for line in refusal.value.errors)
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("damage", ["without", "truncated"])
def test_backbone_weights_that_are_missing_or_damaged(
    damage: str, tiny: list[str], tiny_backbone: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "backbone"
    shutil.copytree(tiny_backbone, folder)
    weights = folder / "model.safetensors"
    if damage == "without":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(SpecError, match=r"no model\.safetensors|model\.safetensors is damaged"):
        run(*tiny, "method=gpart", f"backbone.path={folder}")


def test_the_command_line_answers_bad_input_in_lines_and_status_2(run_py: Runner, tmp_path: Path) -> None:
    result = run_py("method=gprt", "task=glue/sst3", "d=0", f"outputs={tmp_path / 'outputs'}")
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)
    assert not (tmp_path / "outputs").exists()


def test_cost_and_history_are_measured(tiny: list[str]) -> None:
    result = run(*tiny, "method=lora", "task=glue/sst2")
    assert result["cost"].pop("pretraining_seconds") is None, "of a backbone from a folder"
    assert all(math.isfinite(value) and value > 0 for value in result["cost"].values())
    rates = [point["learning_rate"] for point in result["history"]["steps"]]
    assert len(result["history"]["epochs"]) == 2
    assert rates[-1] < max(rates), "the schedule decays"
