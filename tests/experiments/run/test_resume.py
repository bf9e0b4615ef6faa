"""A run that was cut off goes on from the last epoch's state, to the bits of a run that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback, trainer

from baselines import hooks
from experiments.errors import RunFailed
from experiments.records import record
from experiments.run import resume
from schema.record import Record
from tests.experiments.conftest import ROOT
from tests.experiments.runs import folder_of, recorded

SLOW = pytest.mark.slow
ADALORA = [
    "method=full",
    "method.config._target_=peft.AdaLoraConfig",
    "+method.config.target_modules=[query,value]",
    "+method.config.init_r=4",
    "+method.config.target_r=1",
    "+method.config.tinit=1",
    "+method.config.deltaT=2",
    "+method.config.total_step=1000000",
    "recipe.epochs=4",
]
ADAMSS = [
    "method=full",
    "method.config._target_=peft.AdamssConfig",
    "+method.config.target_modules=[query,value]",
    "+method.config.num_subspaces=4",
    "+method.config.r=8",
    "+method.config.use_asa=true",
    "+method.config.asa_target_subspaces=6",
    "+method.config.init_warmup=1",
    "+method.config.final_warmup=9",
    "+method.config.mask_interval=3",
    "recipe.epochs=4",
]


class Cut(TrainerCallback):
    """Ends the run at the next step after so many states were kept, or where training ends."""

    after = 1

    def __init__(self) -> None:
        self._kept = 0

    def on_save(self, *_: Any, **__: Any) -> None:
        self._kept += 1

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if self._kept >= self.after:
            raise RuntimeError("cut off")

    on_train_end = on_step_end


def cut_off(*overrides: str, after: int = 1) -> None:
    """A run that ends after so many kept states."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cut, "after", after)
        patch.setattr(trainer, "DEFAULT_CALLBACKS", [*trainer.DEFAULT_CALLBACKS, Cut])
        with pytest.raises(RunFailed, match="cut off"):
            recorded(*overrides, "resume=true")


def bits(folder: Path) -> dict[str, Any]:
    """All that a run has measured and written, files by their digests: all but times."""
    result = json.loads((folder / "record.json").read_text())
    kept = {name: result[name] for name in ("id", "outcome", "metrics", "history", "sizes", "round_trip")}
    # PEFT writes sets into its configuration, in an order that differs between processes.
    files = {file["path"]: file["sha256"] for file in result["artifacts"] if not file["path"].endswith(".json")}
    assert any(name.endswith(".safetensors") for name in files)
    return kept | {"files": files, "diagnostics": untimed(result["diagnostics"])}


def untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: untimed(item) for name, item in value.items() if "seconds" not in name}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def same_bits(overrides: list[str], tmp_path: Path, *cuts: int) -> Record:
    """The record of a run cut off after so many states each time: its bits are those of one that is not."""
    overrides = [*overrides, "round_trip=false"]
    whole = recorded(*overrides, f"outputs={tmp_path / 'whole'}")
    for after in cuts:
        cut_off(*overrides, f"outputs={tmp_path / 'cut'}", after=after)
    resumed = recorded(*overrides, "resume=true", f"outputs={tmp_path / 'cut'}")
    folder = folder_of(tmp_path / "cut", whole.id)
    assert bits(folder) == bits(folder_of(tmp_path / "whole", whole.id))
    assert len(resumed.provenance.resumed) == len(cuts)
    assert not (folder / "resume").exists()
    return resumed


@pytest.mark.parametrize(
    ("settings", "cut"),
    [
        pytest.param(["method=gpart", "recipe.dropout=0.2"], 1, id="gpart"),
        pytest.param(["method=lora", "recipe.dropout=0.2"], 1, id="lora"),
        pytest.param(["method=full", "recipe.group_by_length=true"], 1, id="full, by length"),
        pytest.param(["method=head"], 1, id="head", marks=SLOW),
        pytest.param([*ADALORA, "recipe.learning_rate=0.05"], 2, id="adalora"),
        pytest.param([*ADAMSS, "recipe.learning_rate=0.05"], 2, id="adamss"),
    ],
)
def test_every_method_goes_on_to_the_same_bits(settings: list[str], cut: int, tiny: list[str], tmp_path: Path) -> None:
    result = same_bits([*tiny, "task=glue/sst2", *settings], tmp_path, cut)
    assert result.provenance.resumed == [cut]


@pytest.mark.parametrize(
    ("settings", "cuts", "resumed"),
    [
        pytest.param(["recipe.epochs=2.5"], [1, 1, 1], [1, 2, 8 / 3], id="within an epoch"),
        pytest.param(["recipe.epochs=2"], [2], [2], id="after the end"),
        pytest.param(["recipe.epochs=3", "recipe.accumulation=2", "recipe.batch_size=16"], [2], [2], id="accumulation"),
        # Of 32 steps an epoch every third is a point of the curve.
        pytest.param(["recipe.epochs=2", "recipe.batch_size=3"], [1], [1], id="curve", marks=SLOW),
        pytest.param(["recipe.epochs=3", "diagnostics=all"], [1], [1], id="diagnostics", marks=SLOW),
        pytest.param(["recipe.precision=bfloat16", "recipe.schedule=cosine"], [1], [1], id="bfloat16", marks=SLOW),
    ],
)
def test_every_option_goes_on_to_the_same_bits(
    settings: list[str], cuts: list[int], resumed: list[float], tiny: list[str], tmp_path: Path
) -> None:
    result = same_bits([*tiny, "task=glue/sst2", "method=gpart", *settings], tmp_path, *cuts)
    assert result.provenance.resumed == pytest.approx(resumed, rel=1e-12)


def test_images_go_on_with_augmentation_and_mixing(images: list[str], tmp_path: Path) -> None:
    augmented = ["+task.augmentation.auto_augment=rand-m9-mstd0.5", "+task.mixing.mixup_alpha=0.8"]
    same_bits([*images, "method=gpart", *augmented], tmp_path, 1)


@pytest.mark.parametrize("packing", ["false", "true"])
def test_language_models_go_on_with_the_epoch_of_the_best_loss(packing: str, words: list[str], tmp_path: Path) -> None:
    result = same_bits([*words, "method=lora", f"++task.packing={packing}"], tmp_path, 1)
    assert [epoch.epoch for epoch in result.history.epochs] == [0, 1, 2]


def start(overrides: list[str]) -> subprocess.Popen[bytes]:
    """The command of a run, in a group of processes of its own."""
    command = [sys.executable, str(ROOT / "run.py"), *overrides]
    return subprocess.Popen(command, start_new_session=True)


def kill_once_kept(command: subprocess.Popen[bytes], outputs: Path) -> None:
    """SIGKILL to all of its processes as soon as a state is whole."""
    while not any(outputs.rglob("resume/*/manifest.json")):
        assert command.poll() is None, "the run has ended without keeping a state"
        time.sleep(0.005)
    os.killpg(command.pid, signal.SIGKILL)
    command.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("tiny", ["task=glue/sst2", "method=gpart", "recipe.dropout=0.2", "recipe.batch_size=8"]),
        ("words", ["method=lora", "++task.packing=true"]),
    ],
)
def test_a_killed_process_goes_on_to_the_same_bits(
    family: str, settings: list[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    overrides = [*request.getfixturevalue(family), *settings, "recipe.epochs=6", "threads=1"]
    whole = recorded(*overrides, f"outputs={tmp_path / 'whole'}")
    resuming = [*overrides, "resume=true", f"outputs={tmp_path / 'cut'}"]
    kill_once_kept(start(resuming), tmp_path / "cut")
    assert not list((tmp_path / "cut").rglob("record.json"))
    assert start(resuming).wait() == 0
    folder = folder_of(tmp_path / "cut", whole.id)
    assert bits(folder) == bits(folder_of(tmp_path / "whole", whole.id))
    resumed = record.read(folder)
    assert resumed is not None
    assert resumed.provenance.resumed


def test_times_are_sums_over_the_attempts(tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "task=glue/sst2", "method=head"]
    cut_off(*overrides)
    (parts,) = tmp_path.rglob("parts.pt")
    kept = resume.load(parts)["Clock"]
    assert kept["selection"] > 0
    cost = recorded(*overrides, "resume=true").cost
    assert cost.train_seconds > kept["train"]
    assert cost.selection_seconds > kept["selection"]
    assert cost.examples_per_second == pytest.approx(2 * 96 / cost.train_seconds)


@pytest.mark.parametrize("over", [["resume=false"], ["resume=true", "rerun=true"]])
def test_a_run_that_starts_over_leaves_the_kept_state_out(over: list[str], tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "task=glue/sst2", "method=head"]
    cut_off(*overrides)
    result = recorded(*overrides, *over)
    assert result.provenance.resumed == []
    assert not list(tmp_path.rglob("resume"))


def test_a_state_of_other_versions_is_named_and_left_out(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*tiny, "task=glue/sst2", "method=head"]
    cut_off(*overrides)
    (manifest,) = tmp_path.rglob("manifest.json")
    manifest.write_text(manifest.read_text().replace(f'"torch": "{torch.__version__}"', '"torch": "1.0"'))
    result = recorded(*overrides, "resume=true")
    assert result.provenance.resumed == []
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: resume/")]
    assert lines == [f"note: resume/checkpoint-3 is left out: it is of torch=1.0; accepted: {torch.__version__}"]


def test_what_trains_nothing_simply_runs(words: list[str], tmp_path: Path) -> None:
    assert recorded(*words, "method=untrained", "resume=true").outcome == "ok"
    assert not list(tmp_path.rglob("resume"))


def test_steps_of_a_methods_own_of_unknown_state_keep_nothing(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "HOOKS", {})
    folders = []
    monkeypatch.setattr(Cut, "on_train_end", lambda *_, **__: folders.extend(tmp_path.rglob("checkpoint-*")))
    monkeypatch.setattr(trainer, "DEFAULT_CALLBACKS", [*trainer.DEFAULT_CALLBACKS, Cut])
    assert recorded(*tiny, "task=glue/sst2", *ADALORA, "resume=true").outcome == "ok"
    assert folders == []
    assert "note: resume=true: method=adalora has steps of its own" in capsys.readouterr().out
