"""What changes a run's identity and what does not: one mutation of a run at a time."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from hydra import compose, initialize_config_dir
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTModel

from experiments.configuration import spec as configuration
from experiments.configuration.groups import CONF
from experiments.configuration.spec import parse
from experiments.data import hub_answers
from experiments.records import provenance
from experiments.run import preflight

Mutation = Callable[[Path], None]


def identity(overrides: list[str]) -> str:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", overrides)
    return preflight.prepare(parse(composed)[0]).id


def run_of(backbone: Path, data: Path) -> list[str]:
    """The overrides of a run whose files are in these folders."""
    return [
        "task=glue/mrpc",
        "data=local",
        f"data.path={data}",
        "method=gpart",
        "backbone=encoder",
        "backbone.source=local",
        f"backbone.path={backbone}",
        "backbone.max_length=32",
        "backbone.pooling=mean",
        "recipe=default",
        "recipe.epochs=2",
        "recipe.d=64",
        "logger=disabled",
    ]


@pytest.fixture(scope="module")
def unchanged(tiny_backbone: Path, tiny_glue: Path) -> tuple[list[str], str]:
    """The run that every setting below is changed of, and its identity."""
    run = run_of(tiny_backbone, tiny_glue)
    return run, identity(run)


@pytest.fixture
def run(tiny_backbone: Path, tiny_glue: Path, tmp_path: Path) -> list[str]:
    """The same run with files of its own to change, below tmp_path/backbone and tmp_path/data."""
    shutil.copytree(tiny_backbone, tmp_path / "backbone")
    shutil.copytree(tiny_glue, tmp_path / "data")
    return run_of(tmp_path / "backbone", tmp_path / "data")


CHANGES = [
    "recipe.learning_rate=0.002",
    "recipe.epochs=3",
    "recipe.accumulation=2",
    "recipe.precision=bfloat16",
    "recipe.label_smoothing=0.1",
    "recipe.dropout=0.1",
    "recipe.group_by_length=true",
    "recipe.eval_batch_size=16",
    "method=lora",
    "method.config.scheme=block",
    "++method.config.keep_base=true",
    "++method.result_version=9",
    "d=128",
    "seed=1",
    "seeds.partition=1",
    "seeds.head=1",
    "seeds.split=1",
    "method.config.seed=7",
    "track=equal_budget",
    "protocol=best_on_dev",
    "test=false",
    "data.train_rows=50",
    "data.test_rows=20",
    "task=glue/sst2",
    "++task.result_version=9",
    "task.metrics=[f1,accuracy]",
    "++task.selection_fraction=0.3",
    "backbone.pooling=cls",
    "backbone.max_length=16",
    "backbone.target_modules=[query]",
    "++backbone.architecture={hidden_dropout_prob:0.5}",
]
SAME = [
    "recipe.epochs=2.0",
    "recipe.accumulation=1",
    "recipe.precision=float32",
    "recipe.label_smoothing=0.0",
    "recipe.sources.all=elsewhere",
    "recipe.name=other",
    "threads=2",
    "logger=offline",
    "logger.project=other",
    "outputs=elsewhere",
    "isolation=none",
    "keep_checkpoint=false",
    "round_trip=false",
    "hub_timeout=5",
    "rerun=true",
    "diagnostics=isometry",
    "diagnostics.seed=5",
    "local=elsewhere",
    "++backbone.revision=other",
    "backbone.hub=another/name",
    "++task.hub.revision=other",
]


@pytest.mark.parametrize("override", CHANGES)
def test_a_setting_that_can_change_the_result_changes_the_identity(
    unchanged: tuple[list[str], str], override: str
) -> None:
    run, before = unchanged
    assert identity([*run, override]) != before


@pytest.mark.parametrize("override", SAME)
def test_a_setting_that_cannot_change_the_result_leaves_the_identity(
    unchanged: tuple[list[str], str], override: str
) -> None:
    run, before = unchanged
    assert identity([*run, override]) == before


def edit_json(name: str, **values: object) -> Mutation:
    def edit(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        path.write_text(json.dumps({**content, **values}), encoding="utf-8")

    return edit


def weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[0]
    tensors[name] = tensors[name] + 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def shards(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({name: tensors[name] for name in own}, folder / file, metadata={"format": "pt"})
    where = {name: file for file, own in parts.items() for name in own}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / "model.safetensors").unlink()


def vocabulary(folder: Path) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"]["vocab"]["w0"], content["model"]["vocab"]["w1"] = (
        content["model"]["vocab"][word] for word in ("w1", "w0")
    )
    path.write_text(json.dumps(content), encoding="utf-8")


def beside(name: str) -> Mutation:
    return lambda folder: (folder / name).write_bytes(b"something else") and None


def touched(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))


BACKBONE_CHANGES: dict[str, Mutation] = {
    "configuration": edit_json("config.json", hidden_dropout_prob=0.5),
    "generation configuration": edit_json("generation_config.json", temperature=0.5),
    "tokenizer": vocabulary,
    "tokenizer configuration": edit_json("tokenizer_config.json", model_max_length=7),
    "special tokens": edit_json("special_tokens_map.json", pad_token="[UNK]"),
    "weights": weights,
    "shards": shards,
}
BACKBONE_SAME: dict[str, Mutation] = {
    "another safetensors file": beside("other.safetensors"),
    "a pickle": beside("pytorch_model.bin"),
    "a model card": beside("README.md"),
    "times": touched,
}


@pytest.mark.parametrize("change", BACKBONE_CHANGES)
def test_a_file_that_is_loaded_changes_the_identity(run: list[str], tmp_path: Path, change: str) -> None:
    before = identity(run)
    BACKBONE_CHANGES[change](tmp_path / "backbone")
    assert identity(run) != before


@pytest.mark.parametrize("change", BACKBONE_SAME)
def test_a_file_that_is_not_loaded_leaves_the_identity(run: list[str], tmp_path: Path, change: str) -> None:
    before = identity(run)
    BACKBONE_SAME[change](tmp_path / "backbone")
    assert identity(run) == before


def test_a_folder_that_has_moved_leaves_the_identity(run: list[str], tmp_path: Path) -> None:
    before = identity(run)
    for name in ("backbone", "data"):
        (tmp_path / name).rename(tmp_path / f"{name}-elsewhere")
    moved = [f"{name}.path={tmp_path / f'{name}-elsewhere'}" for name in ("backbone", "data")]
    assert identity([*run, *moved]) == before


def test_the_rows_of_a_split_that_is_used_change_the_identity(run: list[str], tmp_path: Path) -> None:
    before, folder = identity(run), tmp_path / "data" / "glue" / "mrpc"
    shutil.copy(folder / "validation.parquet", folder / "test.parquet")
    assert identity(run) == before, "a split that is not used"
    shutil.copy(folder / "train.parquet", folder / "validation.parquet")
    assert identity(run) != before


def cached(cache: Path, repository: str, commit: str, files: Path) -> None:
    """Put files into the hub's cache, as the commit behind `main`."""
    folder = cache / repository
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    shutil.copytree(files, folder / "snapshots" / commit)


@pytest.mark.parametrize("moved", ["backbone", "data"])
def test_another_commit_behind_a_branch_of_the_hub_changes_the_identity(
    run: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub_answers, "_ANSWERS", {})
    rows = tmp_path / "rows" / "mrpc"
    rows.mkdir(parents=True)
    for path in (tmp_path / "data" / "glue" / "mrpc").iterdir():
        shutil.copy(path, rows / f"{path.stem}-00000-of-00001.parquet")
    places = {
        "backbone": ("models--owner--tiny", tmp_path / "backbone"),
        "data": ("datasets--nyu-mll--glue", tmp_path / "rows"),
    }
    for repository, files in places.values():
        cached(tmp_path / "hub", repository, "1" * 40, files)
    on_hub = [*run, "backbone.source=hub", "backbone.hub=owner/tiny", "data=hub"]
    before = identity(on_hub)
    assert identity(on_hub) == before
    monkeypatch.setattr(hub_answers, "_ANSWERS", {})
    repository, files = places[moved]
    cached(tmp_path / "hub", repository, "2" * 40, files)
    assert identity(on_hub) != before


def test_the_versions_that_are_raised_by_hand_change_the_identity(
    run: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identity(run)
    monkeypatch.setattr(configuration, "TRAINER_VERSION", configuration.TRAINER_VERSION + 1)
    assert identity(run) != before


def test_package_versions_and_hardware_leave_the_identity(run: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity(run)
    monkeypatch.setattr(provenance.metadata, "version", lambda name: "0.0.0")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert identity(run) == before


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """A run on a folder of two classes of images, with a ViT of its own."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 4)):
        for label in ("cat", "dog"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:04}.png")
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=8, patch_size=4
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    statistics = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2, "size": {"height": 8, "width": 8}}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(statistics))
    return [
        "task=vision/folder",
        "data=local",
        f"data.path={tmp_path / 'images'}",
        "backbone=vit",
        "backbone.source=local",
        f"backbone.path={tmp_path / 'vit'}",
        "method=lora",
        "logger=disabled",
    ]


def relabelled(folder: Path) -> None:
    (folder / "test" / "cat" / "0003.png").rename(folder / "test" / "dog" / "0009.png")


def renamed(folder: Path) -> None:
    (folder / "train" / "cat" / "0003.png").rename(folder / "train" / "cat" / "0099.png")


def swapped(folder: Path) -> None:
    one, other = folder / "train" / "cat" / "0001.png", folder / "train" / "dog" / "0001.png"
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


@pytest.mark.parametrize("change", [relabelled, renamed, swapped], ids=lambda change: change.__name__)
def test_an_image_of_another_class_or_name_changes_the_identity(
    images: list[str], tmp_path: Path, change: Mutation
) -> None:
    before = identity(images)
    change(tmp_path / "images")
    assert identity(images) != before


def test_the_processor_of_an_image_model_changes_the_identity(images: list[str], tmp_path: Path) -> None:
    before = identity(images)
    edit_json("preprocessor_config.json", image_mean=[0.4] * 3)(tmp_path / "vit")
    assert identity(images) != before


def test_a_folder_of_images_that_has_moved_leaves_the_identity(images: list[str], tmp_path: Path) -> None:
    before = identity(images)
    (tmp_path / "images").rename(tmp_path / "pictures")
    assert identity([*images, f"data.path={tmp_path / 'pictures'}"]) == before


@pytest.mark.parametrize("override", ["backbone.image_size=16", "task.augmentation.auto_augment=rand-m9-mstd0.5"])
def test_what_images_are_made_of_changes_the_identity(images: list[str], override: str) -> None:
    changed = [*images, override if "image_size" in override else f"+{override}"]
    assert identity(changed) != identity(images)
