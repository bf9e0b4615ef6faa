"""The embedded ViT and its task: glyphs are those of the version, splits are fixed, the folder loads like any other."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, ViTConfig

from experiments.embedded import images, vision
from experiments.embedded.images import SIZE, glyphs
from tests.experiments.conftest import ROOT

GOLDEN_VERSION = 1
GOLDEN_GLYPHS = "46a7d620d0278a09"
GOLDEN_SPLIT = "1559c627b7a0f173"


@pytest.fixture
def short_recipe(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The real recipe, cut to a few images and steps."""
    recipe = vision.RECIPE | {"images": 200, "steps": 3}
    monkeypatch.setattr(vision, "RECIPE", recipe)
    return recipe


def test_glyphs_are_those_of_the_version() -> None:
    pictures, labels = glyphs(seed=0, classes=5, count=100)
    digest = hashlib.sha256(pictures.tobytes() + labels.astype("<i8").tobytes()).hexdigest()[:16]
    assert images.GENERATOR_VERSION == GOLDEN_VERSION, "images changed on purpose: write down the new digests"
    assert digest == GOLDEN_GLYPHS, "images changed: raise GENERATOR_VERSION or undo the change"


def test_glyphs_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    state = np.random.get_state()[1].tolist()
    first, labels = glyphs(seed=1, classes=4, count=600)
    again, _ = glyphs(seed=1, classes=4, count=600)
    other, _ = glyphs(seed=2, classes=4, count=600)
    assert np.random.get_state()[1].tolist() == state
    assert first.shape == (600, SIZE, SIZE)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert set(labels.tolist()) == set(range(4))
    assert len(np.unique(first.reshape(600, -1), axis=0)) == 600
    assert (first.reshape(600, -1).max(axis=1) > 127).all(), "an image without ink"


def test_the_digits_are_split_as_in_the_version() -> None:
    train, test = vision.digits("train"), vision.digits("test")
    assert (len(train), len(test)) == (1197, 600)
    assert set(train["idx"]).isdisjoint(test["idx"])
    assert set(train["idx"]) | set(test["idx"]) == set(range(1797))
    assert set(Counter(test["label"]).values()) == {vision.TEST_ROWS_PER_CLASS}
    assert hashlib.sha256(repr(list(test["idx"])).encode()).hexdigest()[:16] == GOLDEN_SPLIT
    seen = {np.asarray(image).tobytes() for image in train["image"]}
    assert seen.isdisjoint(np.asarray(image).tobytes() for image in test["image"])


def test_the_digits_are_images_with_labels() -> None:
    test = vision.digits("test")
    assert test.column_names == ["image", "label", "idx"]
    assert test.features["label"].names == list("0123456789")
    image = test[0]["image"]
    assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))
    grey = np.stack([np.asarray(image) for image in test["image"]])
    assert (grey.min(), grey.max()) == (0, 255)
    assert (grey[..., 0] == grey[..., 2]).all()
    with pytest.raises(ValueError, match="split='validation'"):
        vision.digits("validation")


@pytest.mark.usefixtures("short_recipe")
def test_loads_through_the_auto_classes_with_the_shapes_of_the_recipe(tmp_path: Path) -> None:
    folder = vision.folder(tmp_path)
    saved, configured = AutoConfig.from_pretrained(folder), ViTConfig(**vision.RECIPE["architecture"])
    for key in vision.RECIPE["architecture"]:
        assert getattr(saved, key) == getattr(configured, key)
    with torch.device("meta"):
        meta = AutoModelForImageClassification.from_config(saved)
    loaded, report = AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    shapes = {name: weight.shape for name, weight in loaded.state_dict().items()}
    assert shapes == {name: weight.shape for name, weight in meta.state_dict().items()}
    targets = [name for name, _ in loaded.named_modules() if name.endswith(("q_proj", "v_proj"))]
    assert len(targets) == 2 * saved.num_hidden_layers
    model = AutoModelForImageClassification.from_pretrained(folder, num_labels=10, ignore_mismatched_sizes=True)
    batch = AutoImageProcessor.from_pretrained(folder)(vision.digits("test")[:4]["image"], return_tensors="pt")
    assert batch["pixel_values"].shape == (4, 3, SIZE, SIZE)
    assert (batch["pixel_values"].min(), batch["pixel_values"].max()) == (-1, 1)
    assert model(**batch).logits.shape == (4, 10)


@pytest.mark.usefixtures("short_recipe")
def test_is_the_same_each_time_and_leaves_generators_and_threads_alone(tmp_path: Path) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    folders = [vision.folder(tmp_path / name) for name in ("one", "two")]
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    first, second = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert first == second


def test_the_hash_follows_recipe_and_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    before = vision.recipe_hash()
    monkeypatch.setattr(vision, "GENERATOR_VERSION", vision.GENERATOR_VERSION + 1)
    assert vision.recipe_hash() != before
    monkeypatch.undo()
    monkeypatch.setattr(vision, "RECIPE", vision.RECIPE | {"steps": 1})
    assert vision.recipe_hash() != before


def test_importing_needs_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, experiments.embedded.vision, experiments.embedded.images\n"
        "assert not {'torch', 'transformers', 'datasets', 'sklearn', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.slow
def test_pretraining_takes_less_than_two_minutes_and_learns_the_glyphs(tmp_path: Path) -> None:
    started = time.process_time()
    folder = vision.folder(tmp_path)
    assert time.process_time() - started < 120
    pictures, labels = glyphs(vision.RECIPE["seed"], vision.RECIPE["classes"], 1000)
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    pixels = torch.from_numpy(pictures).unsqueeze(1).expand(-1, 3, -1, -1) / 127.5 - 1
    with torch.no_grad():
        found = model(pixel_values=pixels).logits.argmax(-1)
    assert (found == torch.from_numpy(labels)).float().mean() > 0.95
