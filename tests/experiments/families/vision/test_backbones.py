"""Image classifiers: the pretrained model untouched but for its head and its size, alike from both libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from huggingface_hub import constants
from timm.layers import resample_abs_pos_embed
from torch import Tensor
from transformers import AutoModelForImageClassification, ResNetConfig, ResNetForImageClassification

from experiments.errors import SpecError
from experiments.families.vision import backbones
from experiments.families.vision.family import Vision
from experiments.families.vision.positions import resized
from experiments.families.vision.preprocessor import PREPROCESSOR
from experiments.families.vision.transforms import ImageExamples, ImageStatistics, evaluation_transform
from tests.experiments.families.vision import small_vits
from tests.experiments.families.vision.small_vits import CLASSES, HIDDEN, MEAN, PATCH, SIZE, STD, vision

LIBRARIES = ("transformers", "timm")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vits")
    model = small_vits.save_transformers_vit(root / "transformers")
    small_vits.save_timm_vit(root / "timm", model.state_dict())
    return {library: root / library for library in LIBRARIES}


def images(size: int = SIZE, count: int = 3) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def head(model: Any) -> torch.nn.Linear:
    return model.classifier if hasattr(model, "classifier") else model.timm_model.head


def with_the_pretrained_head(model: Any, unmodified: Any) -> Any:
    head(model).load_state_dict(head(unmodified).state_dict())
    return model.eval()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("size", [None, SIZE])
def test_at_the_native_size_the_logits_are_those_of_the_unmodified_model(folders, library, size):
    unmodified = AutoModelForImageClassification.from_pretrained(folders[library]).eval()
    model = vision(library, folders[library], CLASSES, image_size=size).load(head_seed=0)
    assert not torch.equal(model.eval()(images()).logits, unmodified(images()).logits)  # the head is new
    assert torch.equal(with_the_pretrained_head(model, unmodified)(images()).logits, unmodified(images()).logits)


def test_both_libraries_give_the_same_logits_at_any_size(folders):
    for size in (SIZE, 16, 48):
        pair = [vision(library, folders[library], 5, image_size=size).load(head_seed=3).eval() for library in LIBRARIES]
        logits = [model(images(size)).logits for model in pair]
        torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)
        assert logits[0].std() > 0.01


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("size", [16, 48])
def test_another_size_changes_the_position_embeddings_alone(folders, library, size):
    native = vision(library, folders[library], CLASSES).load(head_seed=0).state_dict()
    model = vision(library, folders[library], CLASSES, image_size=size).load(head_seed=0)
    weights = model.state_dict()
    (changed,) = (name for name in native if weights[name].shape != native[name].shape)
    assert changed in ("vit.embeddings.position_embeddings", "timm_model.pos_embed")
    assert all(torch.equal(weights[name], native[name]) for name in native if name != changed)
    grid = size // PATCH
    expected = resample_abs_pos_embed(native[changed], [grid, grid], num_prefix_tokens=1)
    assert torch.equal(weights[changed], expected)
    assert torch.equal(weights[changed][:, 0], native[changed][:, 0])  # the class token has no place
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model(pixel_values=images(size)).logits.shape == (3, CLASSES)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_constant_table_of_positions_stays_constant(folders, library, tmp_path):
    # A swapped axis, a class token among the patches or a lost prefix would all show.
    model = vision(library, folders[library], CLASSES).load(head_seed=0)
    name = next(name for name, value in model.named_parameters() if "pos" in name)
    table = dict(model.named_parameters())[name].data
    rows = torch.arange(4.0).repeat_interleave(4)  # depends on the row of the 4 x 4 grid alone
    table.zero_()[0, 1:] = rows[:, None]
    table[0, 0] = 100.0
    larger = resized(model, 64)
    grown = dict(larger.named_parameters())[name].detach()
    assert (grown[0, 0] == 100.0).all()
    grid = grown[0, 1:].reshape(8, 8, HIDDEN)
    assert torch.allclose(grid, grid[:, :1, :1].expand_as(grid), atol=1e-5)
    assert (grid[1:, 0, 0] > grid[:-1, 0, 0]).all()


@pytest.mark.parametrize(("library", "split"), [("transformers", False), ("timm", False), ("timm", True)])
def test_meta_and_loaded_models_have_the_same_parameters(folders, library, split):
    for size in (None, 48):
        family = vision(library, folders[library], 5, image_size=size, split_qkv=split)
        on_meta, loaded = family.meta(), family.load(head_seed=0)
        assert {parameter.device.type for parameter in on_meta.parameters()} == {"meta"}
        assert {n: p.shape for n, p in on_meta.named_parameters()} == {n: p.shape for n, p in loaded.named_parameters()}
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_configuration_alone_describes_the_resized_model(folders, library, tmp_path):
    model = vision(library, folders[library], CLASSES, image_size=48).load(head_seed=0).eval()
    model.save_pretrained(tmp_path)
    again = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(again(images(48)).logits, model(images(48)).logits)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_head_depends_on_its_seed_alone(folders, library):
    family = vision(library, folders[library])
    state = torch.get_rng_state()
    first = family.load(head_seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    same, other = (family.load(head_seed=seed) for seed in (1, 2))
    assert torch.equal(head(first).weight, head(same).weight)
    assert not torch.equal(head(first).weight, head(other).weight)
    # As many classes as in pretraining: the pretrained head would fit.
    assert not torch.equal(
        head(first).weight, head(AutoModelForImageClassification.from_pretrained(folders[library])).weight
    )
    assert 0.01 < head(first).weight.std() < 0.03
    assert not head(first).bias.any()


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_loss_is_the_mean_cross_entropy(folders, library):
    model = vision(library, folders[library], 4).load(head_seed=0).eval()
    labels = torch.tensor([0, 3, 1])
    output = model(pixel_values=images(), labels=labels)
    assert torch.equal(output.loss, torch.nn.functional.cross_entropy(output.logits, labels))
    assert model(pixel_values=images()).loss is None


def statistics(family: Vision) -> ImageStatistics:
    return backbones.image_statistics(family.weights.folder(), family.weights.config(), family.weights.key)


def test_statistics_and_sizes(folders):
    for library in LIBRARIES:
        family = vision(library, folders[library])
        found, config = statistics(family), family.weights.config()
        assert (found.mean, found.std) == (tuple(MEAN), tuple(STD))
        assert found.interpolation == "bicubic"
        assert backbones.native_size(config) == backbones.image_size(family.backbone, config) == SIZE
        smaller = vision(library, folders[library], image_size=16).backbone
        assert backbones.image_size(smaller, config) == 16
    assert statistics(vision("timm", folders["timm"])).crop_pct == 0.9
    assert statistics(vision("transformers", folders["transformers"])).crop_pct == 1.0


def test_a_centre_crop_of_the_processor_is_the_crop_of_an_evaluation(folders, tmp_path):
    folder = copied(folders["transformers"], tmp_path)
    settings = json.loads((folder / PREPROCESSOR).read_text())
    settings |= {"do_center_crop": True, "size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}
    (folder / PREPROCESSOR).write_text(json.dumps(settings))
    assert statistics(vision("transformers", folder)).crop_pct == 0.875
    (folder / PREPROCESSOR).unlink()
    with pytest.raises(
        SpecError, match=r"^backbone\.path=.*: no preprocessor_config\.json in it .*; accepted: .* image_mean"
    ):
        statistics(vision("transformers", folder))


def test_the_shapes_in_the_yaml_need_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    vit = {"model_type": "vit", "image_size": SIZE, "patch_size": PATCH, "hidden_size": HIDDEN}
    timm = {"model_type": "timm_wrapper", "architecture": "deit_tiny_patch16_224"}
    hub = {"source": "hub", "hub": "nobody/nothing", "path": None}
    model = vision("transformers", None, 5, architecture=vit, **hub).meta()
    assert model.classifier.weight.shape == (5, HIDDEN)
    family = vision("timm", None, 5, architecture=timm, **hub)
    assert family.meta().timm_model.head.weight.shape == (5, 192)
    assert backbones.native_size(family.weights.config()) == 224
    assert backbones.image_statistics(tmp_path, family.weights.config(), "").crop_pct == 0.9


def test_the_architecture_takes_effect_in_what_is_trained(folders):
    def dropouts(**changes: Any) -> set[float]:
        model = vision("transformers", folders["transformers"], **changes).load(head_seed=0)
        return {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}

    assert dropouts() == {0.0}
    assert 0.5 in dropouts(architecture={"hidden_dropout_prob": 0.5})


def test_an_architecture_of_timm_goes_over_its_config_json(folders):
    same = {"model_type": "timm_wrapper", "architecture": "vit_tiny_patch16_224"}
    model = vision("timm", folders["timm"], 5, architecture=same).load(head_seed=0)
    assert model.timm_model.head.weight.shape == (5, HIDDEN)
    deeper = json.loads((folders["timm"] / "config.json").read_text())["model_args"] | {"depth": 3}
    with pytest.raises(SpecError, match=r"its weights lack 12 tensors \(timm_model\.blocks\.2\."):
        vision("timm", folders["timm"], 5, architecture={"model_args": deeper}).meta()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_size_that_the_patches_do_not_tile_is_refused(folders, library):
    with pytest.raises(SpecError, match=r"backbone\.image_size=33: not a multiple of the patch size 8"):
        vision(library, folders[library], image_size=SIZE + 1).meta()


def test_a_library_that_is_not_the_folders_is_refused(folders):
    with pytest.raises(SpecError, match=r"backbone\.library=timm: small-vit is of transformers"):
        vision("timm", folders["transformers"]).meta()


def test_a_convolutional_model_takes_any_size(tmp_path):
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3)
    ResNetForImageClassification(config).save_pretrained(tmp_path)
    (tmp_path / PREPROCESSOR).write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    model = vision("transformers", tmp_path, 5, image_size=48).load(head_seed=0)
    assert model(images(48)).logits.shape == (3, 5)


def test_a_cached_hub_model_is_found_without_asking(folders, tmp_path, monkeypatch):
    commit = "0" * 40
    repo = tmp_path / "models--owner--vit"
    copied(folders["transformers"], repo / "snapshots", commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    family = vision("transformers", None, 5, source="hub", hub="owner/vit", path=None)
    assert family.load(head_seed=0)(images()).logits.shape == (3, 5)


def test_deit_tiny_at_its_native_size_and_at_half(shared_data):
    folder = shared_data / "deit-tiny-patch16-224"
    unmodified = AutoModelForImageClassification.from_pretrained(folder).eval()
    family = vision("transformers", folder, 1000)
    model = with_the_pretrained_head(family.load(head_seed=0), unmodified)
    with torch.no_grad():
        assert torch.equal(model(images(224, 2)).logits, unmodified(images(224, 2)).logits)
        family = vision("transformers", folder, 1000, image_size=112)
        half = with_the_pretrained_head(family.load(head_seed=0), unmodified)
        assert half(images(112, 2)).logits.shape == (2, 1000)
    assert statistics(family).mean == (0.485, 0.456, 0.406)
    assert statistics(family).interpolation == "bicubic"


@pytest.mark.slow
def test_real_images_through_the_evaluation_transform_are_recognised(shared_data):
    folder = shared_data / "deit-tiny-patch16-224"
    family = vision("transformers", folder, 1000, image_size=160)
    unmodified = AutoModelForImageClassification.from_pretrained(folder)
    model = with_the_pretrained_head(family.load(head_seed=0), unmodified)
    rows = datasets.Dataset.from_parquet(str(shared_data / "dtd10" / "test.parquet"))
    cobwebbed = [row for row, label in enumerate(rows["label"]) if label == 6][:12]
    of = ImageExamples(rows.select(cobwebbed), evaluation_transform(160, statistics(family)))
    with torch.no_grad():
        predicted = model(torch.stack([example["pixel_values"] for example in of])).logits.argmax(-1)
    web = 815  # "spider web" among ImageNet's classes
    assert (predicted == web).sum() >= 8


def copied(folder: Path, root: Path, name: str = "copy") -> Path:
    target = root / name
    target.mkdir(parents=True)
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target
