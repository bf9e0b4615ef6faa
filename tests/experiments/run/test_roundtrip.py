"""The round trip: what differs is an outcome, what a method cannot do is said, and nothing costs a run its scores."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.errors import RunFailed
from experiments.run import roundtrip
from schema.record import Comparison, RoundTrip
from tests.experiments.run import methods
from tests.experiments.runs import folder_of, loaded, run, spec_of

LILY = ["+method.config.r=4", "+method.config.stride_A=1", "+method.config.num_B=2"]
OSF = ["+method.config.effective_rank=4"]


def peft_method(name: str, *options: str) -> list[str]:
    """Overrides for a configuration of PEFT's that the suite has no file of."""
    return [
        "method=full",
        f"method.config._target_=peft.{name}",
        "+method.config.target_modules=[query,value]",
        *options,
    ]


@pytest.fixture(autouse=True)
def counters() -> None:
    methods.reset()


def recorded(outputs: Path) -> dict[str, Any]:
    (path,) = outputs.rglob("record.json")
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def assert_scores_are_kept(result: dict[str, Any], outputs: Path) -> None:
    assert result["metrics"]["test"]["accuracy"] > 0
    frame = pd.read_parquet(folder_of(outputs, result["id"]) / "predictions.parquet")
    assert len(frame[frame["split"] == "test"]) == 40


def test_a_checkpoint_that_cannot_be_reloaded_is_an_outcome_and_keeps_the_scores(
    tiny: list[str], tmp_path: Path
) -> None:
    target = f"method.config._target_={methods.__name__}.Forgetful"
    with pytest.raises(RunFailed, match="broken_round_trip"):
        run(*tiny, "task=glue/sst2", "method=full", target)
    result = recorded(tmp_path / "outputs")
    assert result["outcome"] == "broken_round_trip"
    assert result["round_trip"]["reload"].startswith("failed: ValueError: checkpoint: ")
    assert result["round_trip"]["merge"] == "skipped: nothing was reloaded"
    assert result["error"]["type"] == "BrokenRoundTrip"
    assert "reload: failed" in result["error"]["message"]
    assert_scores_are_kept(result, tmp_path / "outputs")


def test_a_broken_round_trip_is_done_and_not_run_again(tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "task=glue/sst2", "method=full", f"method.config._target_={methods.__name__}.Forgetful"]
    for _ in range(2):
        with pytest.raises(RunFailed, match="broken_round_trip"):
            run(*overrides)
    assert not list((tmp_path / "outputs").rglob("previous"))


class Trained:
    """A trained model of a few steps, its family and its checkpoint."""

    def __init__(self, overrides: list[str], folder: Path) -> None:
        self.subject = loaded(spec_of(*overrides))
        with torch.no_grad():
            for _, parameter in self.subject.adapted.adapter_parameters():
                parameter.add_(0.3)
        self.folder = folder
        self.subject.adapted.save(folder)

    def trip(self, backbone: Any = None) -> RoundTrip:
        family = self.subject.family
        fresh = backbone or (lambda: family.load(1))
        return roundtrip.round_trip(self.subject.adapted, fresh, self.folder, family, self.subject.examples["test"])


@pytest.fixture
def trained(request: pytest.FixtureRequest, tiny: list[str], tmp_path: Path) -> Trained:
    return Trained([*tiny, "task=glue/sst2", f"method={request.param}"], tmp_path / "checkpoint")


@pytest.mark.parametrize("trained", ["lora"], indirect=True)
def test_other_weights_beneath_the_adapter_break_the_round_trip(trained: Trained) -> None:
    def other() -> torch.nn.Module:
        model = trained.subject.family.load(1)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "layer.1" in name:
                    parameter.normal_(std=0.02)
        return model

    assert roundtrip.broken(trained.trip()) is None
    line = roundtrip.broken(trained.trip(other))
    assert line is not None
    assert line.startswith("reload: logits differ by up to ")
    assert "of 40 predictions changed" in line


@pytest.mark.parametrize("trained", ["lora"], indirect=True)
def test_a_merge_that_adds_something_else_breaks_the_round_trip(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in trained.subject.adapted.model.modules():
        if hasattr(module, "get_delta_weight"):
            delta = module.get_delta_weight
            monkeypatch.setattr(module, "get_delta_weight", lambda adapter, delta=delta: 2 * delta(adapter))
    line = roundtrip.broken(trained.trip())
    assert line is not None
    assert line.startswith("merge: logits differ")


@pytest.mark.parametrize("trained", ["lora"], indirect=True)
def test_unmerged_weights_are_counted_against_the_reloaded_backbone(trained: Trained) -> None:
    adapted = trained.subject.adapted
    before = {name: weight.detach().clone() for name, weight in adapted.merged_weights()}
    part = trained.trip().unmerge
    assert isinstance(part, Comparison)
    changed = sum(int((weight != before[name]).sum()) for name, weight in adapted.merged_weights())
    assert part.changed_weights == changed > 0


@pytest.mark.parametrize("trained", ["lora"], indirect=True)
@pytest.mark.parametrize(
    ("error", "said", "breaks"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "skipped: out of memory (CUDA out of memory)", False),
        (NotImplementedError("no such thing"), "not applicable: no such thing", True),
        (OSError("gone"), "failed: OSError: gone", True),
    ],
)
def test_short_memory_breaks_nothing_and_what_cannot_be_reloaded_does(
    error: Exception, said: str, breaks: bool, trained: Trained
) -> None:
    def fresh() -> torch.nn.Module:
        raise error

    trip = trained.trip(fresh)
    assert trip == roundtrip.skipped("nothing was reloaded").model_copy(update={"reload": said})
    assert (roundtrip.broken(trip) is not None) == breaks


@pytest.mark.parametrize("trained", ["lora"], indirect=True)
def test_the_reloaded_model_computes_where_the_trained_one_does(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def outputs(family: Any, model: torch.nn.Module, *_: Any) -> np.ndarray:
        seen.append({parameter.device.type for parameter in model.parameters()})
        return np.zeros((2, 2))

    monkeypatch.setattr(type(trained.subject.family), "outputs", outputs)
    trained.subject.adapted.model.to("meta")  # the one device besides the CPU that is everywhere
    trained.trip()
    assert seen[:2] == [{"meta"}, {"meta"}]


@pytest.mark.parametrize("trained", ["gpart"], indirect=True)
@pytest.mark.parametrize("precision", roundtrip.TOLERANCES)
def test_gpart_is_exact_in_every_precision(trained: Trained, precision: str) -> None:
    family = trained.subject.family
    recipe = family.spec.recipe.model_copy(update={"precision": precision})
    family.spec = family.spec.model_copy(update={"recipe": recipe})
    trip = trained.trip().model_dump()
    assert [trip[step]["max_abs_logit_difference"] for step in roundtrip.STEPS] == [0, 0, 0]


def test_a_difference_that_is_no_number_is_beyond_every_tolerance() -> None:
    part = Comparison(max_abs_logit_difference=np.nan, tolerance=1.0, changed_predictions=0, examples=1)
    assert roundtrip.broken(RoundTrip(reload=part)) is not None
    unknown = part.model_copy(update={"max_abs_logit_difference": None})
    assert roundtrip.broken(RoundTrip(reload=unknown)) is not None, "what a record makes of it"


@pytest.mark.parametrize(
    ("method", "merge", "unmerge"),
    [
        (peft_method("LilyConfig", *LILY), "not applicable: This method is not supported for Lily.", "skipped"),
        (peft_method("OSFConfig", *OSF), None, "not applicable: OSF models do not support unmerging"),
    ],
    ids=["lily", "osf"],
)
def test_what_a_method_cannot_do_is_said_and_costs_nothing(
    method: list[str], merge: str | None, unmerge: str, tiny: list[str], tmp_path: Path
) -> None:
    result = run(*tiny, "task=glue/sst2", *method)
    assert result["outcome"] == "ok"
    trip = result["round_trip"]
    assert trip["reload"]["max_abs_logit_difference"] <= trip["reload"]["tolerance"]
    assert isinstance(trip["merge"], dict) if merge is None else trip["merge"] == merge
    assert trip["unmerge"].startswith(unmerge)
    assert_scores_are_kept(result, tmp_path / "outputs")


def test_it_can_be_left_out(tiny: list[str], tmp_path: Path) -> None:
    result = run(*tiny, "task=glue/sst2", "method=lora", "round_trip=false")
    assert result["outcome"] == "ok"
    assert set(result["round_trip"].values()) == {"skipped: round_trip=false"}
    assert (folder_of(tmp_path / "outputs", result["id"]) / "checkpoint" / "adapter_model.safetensors").is_file()
    assert run(*tiny, "task=glue/sst2", "method=lora")["id"] == result["id"], "it changes no result"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_the_round_trip_is_no_cost_of_the_run(tiny: list[str]) -> None:
    target = f"method.config._target_={methods.__name__}.Greedy"
    result = run(*tiny, "task=glue/sst2", "method=full", target)
    assert result["outcome"] == "ok"
    assert methods.peak() - result["cost"]["peak_memory_bytes"] > methods.BEYOND
