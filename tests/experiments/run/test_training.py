"""Training: epochs as they were, metrics that exist, times and rates that are what they say, methods' own steps."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import TrainerCallback

from experiments.errors import RunFailed, SpecError
from experiments.run import training
from tests.experiments.runs import loaded, run, spec_of

ADALORA = [
    "method=full",
    "method.config._target_=peft.AdaLoraConfig",
    "+method.config.target_modules=[query,value]",
    "+method.config.init_r=4",
    "+method.config.target_r=1",
    "+method.config.total_step=1000000",
]
STEPS_PER_EPOCH = 3  # 96 rows of the tiny data train, in batches of 32


@pytest.mark.parametrize(
    ("epochs", "evaluated"), [(2, [1, 2]), (2.5, [1, 2, 8 / 3]), (0.3, [1 / 3]), (1.1, [1, 4 / 3])]
)
def test_every_evaluation_is_kept_under_its_own_epoch(epochs: float, evaluated: list[float], tiny: list[str]) -> None:
    result = run(*tiny, "method=head", "task=glue/sst2", f"recipe.epochs={epochs}")
    found = [entry["epoch"] for entry in result["history"]["epochs"]]
    assert found == pytest.approx(evaluated, rel=1e-12)
    assert result["history"]["steps"][-1]["step"] == round(evaluated[-1] * STEPS_PER_EPOCH)
    assert result["history"]["best_epoch"] in found


@pytest.mark.parametrize("metrics", ["[acuracy]", "[accuracy,acuracy]"])
def test_a_metric_that_there_is_not_is_refused_before_anything_is_read(
    metrics: str, tiny: list[str], tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=r"^task\.metrics=acuracy: .*accepted: .*accuracy"):
        run(*tiny, "method=head", "task=glue/sst2", f"task.metrics={metrics}")
    assert not (tmp_path / "outputs").exists()


def test_a_run_without_an_epoch_to_keep_is_not_ok(tiny: list[str], tiny_glue: Path, tmp_path: Path) -> None:
    constant = tmp_path / "constant"
    shutil.copytree(tiny_glue, constant)
    frame = pd.read_parquet(constant / "glue/stsb/train.parquet")
    frame["label"] = 2.5
    frame.to_parquet(constant / "glue/stsb/train.parquet", index=False)
    with pytest.raises(RunFailed, match="diverged"):
        run(*tiny, f"data.path={constant}", "method=head", "task=glue/stsb")
    (path,) = (tmp_path / "outputs").rglob("record.json")
    result = json.loads(path.read_text())
    assert result["error"]["message"] == "no epoch has a finite pearson on the selection split"
    assert result["metrics"]["test"] is None


@pytest.mark.parametrize(
    ("method", "adapter", "head"), [("head", False, True), ("lora", True, True), ("gpart", True, True)]
)
def test_a_part_that_does_not_train_has_no_learning_rate(
    method: str, adapter: bool, head: bool, tiny: list[str]
) -> None:
    rates = ["recipe.learning_rate=0.01", "recipe.head_learning_rate=0.002", "recipe.schedule=constant"]
    steps = run(*tiny, f"method={method}", "task=glue/sst2", *rates, "recipe.warmup_ratio=0")["history"]["steps"]
    assert {step["learning_rate"] for step in steps} == ({0.01} if adapter else {None})
    assert {step["head_learning_rate"] for step in steps} == ({0.002} if head else {None})


class Prepared:
    """A run up to the point where it would train."""

    def __init__(self, overrides: list[str], folder: Path) -> None:
        self.spec = spec_of(*overrides)
        self.subject = loaded(self.spec)
        examples = self.subject.examples
        self.trainer = training.trainer(
            self.spec, self.subject.adapted, self.subject.family, examples["train"], examples["selection"], folder
        )

    def train(self) -> training.History:
        return training.train(self.trainer, self.subject.adapted, self.spec.task.primary_metric)


def test_training_time_holds_no_evaluation(tiny: list[str], tmp_path: Path) -> None:
    run_ = Prepared([*tiny, "method=head", "task=glue/sst2"], tmp_path)
    compute = run_.trainer.compute_metrics

    def slow(output: Any) -> Any:
        time.sleep(2)
        return compute(output)

    run_.trainer.compute_metrics = slow
    started = time.perf_counter()
    history = run_.train()
    whole = time.perf_counter() - started
    assert history.selection_seconds > 4
    assert 0 < history.train_seconds < whole - 4


def test_adalora_gives_up_ranks_and_comes_back_from_disk(tiny: list[str], tmp_path: Path) -> None:
    result = run(*tiny, *ADALORA, "task=glue/sst2", "recipe.epochs=10", "recipe.learning_rate=0.05")
    assert result["outcome"] == "ok", result["error"]
    assert result["round_trip"]["reload"]["max_abs_logit_difference"] == 0


def test_ranks_shrink_to_their_budget_by_the_last_step(tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, *ADALORA, "task=glue/sst2", "recipe.epochs=10", "recipe.learning_rate=0.05"]
    prepared = Prepared([*overrides, "recipe.warmup_ratio=0"], tmp_path)
    ranks = _Ranks(prepared.subject.adapted.model)
    prepared.trainer.add_callback(ranks)
    history = prepared.train()
    assert ranks.seen[0] == 4 * 4, "all of them, in query and value of two layers"
    assert ranks.seen[-1] == 1 * 4
    assert sorted(ranks.seen, reverse=True) == ranks.seen
    assert history.best_epoch in range(1, 10), "an earlier epoch than the last, which the next line is about"
    assert sum(map(sum, prepared.subject.adapted.model.peft_config["default"].rank_pattern.values())) == ranks.in_use


class _Ranks(TrainerCallback):
    """How many singular values are in use after each step."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._values = [parameter for name, parameter in model.named_parameters() if "lora_E" in name]
        self.seen: list[int] = []

    @property
    def in_use(self) -> int:
        return sum(int(values.count_nonzero()) for values in self._values)

    def on_step_end(self, *arguments: Any, **_: Any) -> None:
        self.seen.append(self.in_use)


def test_a_schedule_longer_than_the_training_is_refused(tiny: list[str], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"method\.config\.tinit=5, .*training takes 6 steps"):
        run(*tiny, *ADALORA, "task=glue/sst2", "+method.config.tinit=5", "+method.config.tfinal=1")
    assert not (tmp_path / "outputs").exists()
