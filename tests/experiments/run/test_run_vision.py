"""Whole runs on images: tiny real ViTs of both libraries, tiny real image files, the same flow as any run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import TrainerState

from experiments.__main__ import main
from experiments.data import sources
from experiments.errors import RunFailed, SpecError
from experiments.run import preflight
from tests.experiments.families.vision.small_vits import as_timm, save_timm_vit, save_transformers_vit
from tests.experiments.run.conftest import CLASSES
from tests.experiments.runs import folder_of, run, spec_of


@pytest.mark.parametrize("method", ["gpart", "lora", "unilora", "full", "bitfit", "head"])
def test_every_method_goes_from_images_to_a_record(method: str, images: list[str], tmp_path: Path) -> None:
    result = run(*images, f"method={method}")
    assert result["key"]["task"] == "vision/folder"
    assert result["config"]["task"]["classes"] == "folder"
    assert result["provenance"]["data_reference"]["classes"] == list(CLASSES)
    assert result["round_trip"]["reload"]["max_abs_logit_difference"] <= 1e-5
    assert result["cost"]["tokens_per_second"] is None
    predictions = pd.read_parquet(folder_of(tmp_path / "outputs", result["id"]) / "predictions.parquet")
    test = predictions[predictions["split"] == "test"]
    assert sorted(test["example_id"])[:2] == ["bright/0.png", "bright/1.png"]
    assert (test["label"] == test["prediction"]).mean() == pytest.approx(result["metrics"]["test"]["accuracy"])


def test_the_same_run_twice_gives_the_same_bits_with_augmentation_and_mixing(images: list[str]) -> None:
    overrides = [
        *images,
        "method=gpart",
        "recipe.dropout=0.1",
        "+task.augmentation.auto_augment=rand-m9-mstd0.5",
        "+task.augmentation.re_prob=0.5",
        "+task.mixing.mixup_alpha=0.8",
    ]
    first = run(*overrides)
    again = run(*overrides, "rerun=true")
    assert (again["metrics"], again["history"]) == (first["metrics"], first["history"])
    other = run(*overrides, "seeds.data=1")
    assert other["history"]["steps"] != first["history"]["steps"]


def test_the_epoch_reaches_the_examples_whenever_the_options_are_made(images: list[str]) -> None:
    prepared = preflight.prepare(spec_of(*images, "method=head", "+task.augmentation.re_prob=0.9"))
    family = prepared.family
    before = family.trainer_options()
    splits = sources.load(prepared.source, prepared.spec)
    examples = family.examples(splits.train, "train")
    (callback,) = before.callbacks
    state, loader = TrainerState(epoch=3.0), DataLoader(examples)
    callback.on_epoch_begin(None, state, None, train_dataloader=loader)  # type: ignore[arg-type]
    drawn = examples[0]["pixel_values"]
    examples.set_epoch(0)  # type: ignore[attr-defined]
    assert not torch.equal(examples[0]["pixel_values"], drawn), "it was the fourth epoch's"


def test_accumulation_and_label_smoothing_are_other_runs(images: list[str]) -> None:
    plain = run(*images, "method=head", "recipe.epochs=1")
    assert run(*images, "method=head", "recipe.epochs=1", "recipe.accumulation=1")["id"] == plain["id"]
    for override in ("recipe.accumulation=2", "recipe.label_smoothing=0.1", "recipe.precision=bfloat16"):
        other = run(*images, "method=head", "recipe.epochs=1", override)
        assert other["id"] != plain["id"]
        assert other["history"]["steps"] != plain["history"]["steps"]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has an accelerator")
def test_half_precision_needs_an_accelerator(images: list[str]) -> None:
    with pytest.raises(SpecError, match=r"recipe\.precision=float16: there is no accelerator here"):
        run(*images, "method=head", "recipe.precision=float16")


def test_a_timm_backbone_with_split_attention_at_another_size(images: list[str], tmp_path: Path) -> None:
    save_timm_vit(tmp_path / "timm", as_timm(save_transformers_vit(tmp_path / "same").state_dict()))
    result = run(
        *images,
        "method=lora",
        f"backbone.path={tmp_path / 'timm'}",
        "backbone.library=timm",
        "backbone.split_qkv=true",
        "backbone.image_size=48",
        "backbone.head=[timm_model.head]",
    )
    assert result["round_trip"]["merge"]["max_abs_logit_difference"] <= 1e-5
    assert main(["evaluate", str(folder_of(tmp_path / "outputs", result["id"]))]) == 0


def test_an_image_that_is_none_is_refused_before_training(
    images: list[str], image_folder: Path, tmp_path: Path
) -> None:
    broken = copied(image_folder, tmp_path)
    (broken / "train" / "dark" / "3.png").write_bytes(b"no picture")
    with pytest.raises(SpecError, match=r"1 rows whose column image holds no image that can be read: dark/3\.png"):
        run(*images, f"data.path={broken}", "method=head")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("extra", r"classes that are not the task's \(purple\)"),
        ("missing", r"lacks classes \(striped\)"),
        ("empty", r"has classes without an image \(bright, dark, striped\)"),
    ],
)
def test_splits_that_do_not_fit_the_classes(
    change: str, complaint: str, images: list[str], image_folder: Path, tmp_path: Path
) -> None:
    broken = copied(image_folder, tmp_path)
    test = broken / "test"
    if change == "extra":
        (test / "dark").rename(test / "purple")
    if change == "missing":
        (test / "striped").rename(tmp_path / "gone")
    if change == "empty":
        for path in test.rglob("*.png"):
            path.unlink()
    with pytest.raises(SpecError, match=complaint):
        run(*images, f"data.path={broken}", "method=head")


def test_bad_settings_of_images_are_refused_together(images: list[str]) -> None:
    with pytest.raises(SpecError) as refusal:
        run(*images, "method=head", "+task.augmentation.blur=1", "+task.mixing.beta=2")
    assert [line.split(":")[0] for line in refusal.value.errors] == ["task.augmentation.blur", "task.mixing.beta"]
    with pytest.raises(SpecError, match="a backbone for the tasks of glue"):
        run("task=vision/cifar10", "backbone=minilm-l6", "method=head")
    with pytest.raises(SpecError, match="not a multiple of the patch size"):
        run(*images, "method=head", "backbone.image_size=30")


def test_images_of_another_number_of_classes(images: list[str], image_folder: Path) -> None:
    with pytest.raises(SpecError, match="has 3 classes; accepted: 37"):
        run(*[o for o in images if not o.startswith("task=")], "task=vision/oxford_pets", "method=head")


def test_an_image_moved_to_another_class_is_another_run(images: list[str], image_folder: Path, tmp_path: Path) -> None:
    moved = copied(image_folder, tmp_path)
    overrides = [*images, f"data.path={moved}", "method=head", "recipe.epochs=1"]
    first = run(*overrides)
    (moved / "test" / "dark" / "0.png").rename(moved / "test" / "bright" / "99.png")
    second = run(*overrides)
    assert second["id"] != first["id"]
    classes = [result["provenance"]["data_reference"]["classes"] for result in (first, second)]
    assert classes == [list(CLASSES)] * 2


def test_a_diverged_run_on_images_is_recorded(images: list[str], tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="diverged"):
        run(*images, "method=full", "recipe.learning_rate=1e30", "recipe.warmup_ratio=0")
    (path,) = (tmp_path / "outputs").rglob("record.json")
    assert json.loads(path.read_text())["outcome"] == "diverged"


def copied(folder: Path, tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    shutil.copytree(folder, target)
    return target
