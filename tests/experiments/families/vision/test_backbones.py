"""Image classifiers: the pretrained model untouched but for its head and its size, alike from both libraries."""

from __future__ import annotations

import json
import re
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
from experiments.families.vision.transforms import ImageExamples, evaluation_transform
from tests.experiments.families.vision import small_vits
from tests.experiments.families.vision.small_vits import CLASSES, HIDDEN, MEAN, PATCH, SIZE, STD, section

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
    model = backbones.load(section(library, folders[library], image_size=size), CLASSES, head_seed=0)
    assert not torch.equal(model.eval()(images()).logits, unmodified(images()).logits)  # the head is new
    assert torch.equal(with_the_pretrained_head(model, unmodified)(images()).logits, unmodified(images()).logits)


def test_both_libraries_give_the_same_logits_at_any_size(folders):
    for size in (SIZE, 16, 48):
        pair = [
            backbones.load(section(library, folders[library], image_size=size), 5, head_seed=3).eval()
            for library in LIBRARIES
        ]
        logits = [model(images(size)).logits for model in pair]
        torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)
        assert logits[0].std() > 0.01


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("size", [16, 48])
def test_another_size_changes_the_position_embeddings_alone(folders, library, size):
    native = backbones.load(section(library, folders[library]), CLASSES, head_seed=0).state_dict()
    model = backbones.load(section(library, folders[library], image_size=size), CLASSES, head_seed=0)
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
    model = backbones.load(section(library, folders[library]), CLASSES, head_seed=0)
    name = next(name for name, value in model.named_parameters() if "pos" in name)
    table = dict(model.named_parameters())[name].data
    rows = torch.arange(4.0).repeat_interleave(4)  # depends on the row of the 4 x 4 grid alone
    table.zero_()[0, 1:] = rows[:, None]
    table[0, 0] = 100.0
    resized = backbones.resized(model, 64)
    grown = dict(resized.named_parameters())[name].detach()
    assert (grown[0, 0] == 100.0).all()
    grid = grown[0, 1:].reshape(8, 8, HIDDEN)
    assert torch.allclose(grid, grid[:, :1, :1].expand_as(grid), atol=1e-5)
    assert (grid[1:, 0, 0] > grid[:-1, 0, 0]).all()


@pytest.mark.parametrize(("library", "split"), [("transformers", False), ("timm", False), ("timm", True)])
def test_meta_and_loaded_models_have_the_same_parameters(folders, library, split):
    for size in (None, 48):
        backbone = section(library, folders[library], image_size=size, split_qkv=split)
        on_meta, loaded = backbones.meta(backbone, 5), backbones.load(backbone, 5, head_seed=0)
        assert {parameter.device.type for parameter in on_meta.parameters()} == {"meta"}
        assert {n: p.shape for n, p in on_meta.named_parameters()} == {n: p.shape for n, p in loaded.named_parameters()}
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_configuration_alone_describes_the_resized_model(folders, library, tmp_path):
    model = backbones.load(section(library, folders[library], image_size=48), CLASSES, head_seed=0).eval()
    model.save_pretrained(tmp_path)
    again = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(again(images(48)).logits, model(images(48)).logits)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_head_depends_on_its_seed_alone(folders, library):
    backbone = section(library, folders[library])
    state = torch.get_rng_state()
    first = backbones.load(backbone, CLASSES, head_seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    same, other = (backbones.load(backbone, CLASSES, head_seed=seed) for seed in (1, 2))
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
    model = backbones.load(section(library, folders[library]), 4, head_seed=0).eval()
    labels = torch.tensor([0, 3, 1])
    output = model(pixel_values=images(), labels=labels)
    assert torch.equal(output.loss, torch.nn.functional.cross_entropy(output.logits, labels))
    assert model(pixel_values=images()).loss is None


def test_statistics_and_sizes(folders):
    for library in LIBRARIES:
        backbone = section(library, folders[library])
        statistics = backbones.image_statistics(backbone)
        assert (statistics.mean, statistics.std) == (tuple(MEAN), tuple(STD))
        assert statistics.interpolation == "bicubic"
        assert backbones.native_size(backbone) == backbones.image_size(backbone) == SIZE
        assert backbones.image_size(backbone | {"image_size": 16}) == 16
    assert backbones.image_statistics(section("timm", folders["timm"])).crop_pct == 0.9
    assert backbones.image_statistics(section("transformers", folders["transformers"])).crop_pct == 1.0


def test_a_centre_crop_of_the_processor_is_the_crop_of_an_evaluation(folders, tmp_path):
    folder = copied(folders["transformers"], tmp_path)
    settings = json.loads((folder / backbones.PREPROCESSOR).read_text())
    settings |= {"do_center_crop": True, "size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}
    (folder / backbones.PREPROCESSOR).write_text(json.dumps(settings))
    assert backbones.image_statistics(section("transformers", folder)).crop_pct == 0.875
    (folder / backbones.PREPROCESSOR).unlink()
    with pytest.raises(SpecError, match="no such file; accepted: image_mean"):
        backbones.image_statistics(section("transformers", folder))


def test_the_shapes_in_the_yaml_need_no_files():
    vit = {"model_type": "vit", "image_size": SIZE, "patch_size": PATCH, "hidden_size": HIDDEN}
    timm = {"architecture": "deit_tiny_patch16_224"}
    hub = {"source": "hub", "hub": "nobody/nothing", "path": None}
    model = backbones.meta(section("transformers", None, architecture=vit, **hub), 5)
    assert model.classifier.weight.shape == (5, HIDDEN)
    backbone = section("timm", None, architecture=timm, **hub)
    assert backbones.meta(backbone, 5).timm_model.head.weight.shape == (5, 192)
    assert backbones.native_size(backbone) == 224
    assert backbones.image_statistics(backbone).crop_pct == 0.9


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pth"])
def test_pickled_weights_are_refused_in_one_line(folders, tmp_path, name):
    folder = copied(folders["transformers"], tmp_path)
    (folder / "model.safetensors").rename(folder / name)
    backbone = section("transformers", folder)
    (line,) = backbones.check(backbone)
    assert name in line
    assert "accepted: model.safetensors" in line
    with pytest.raises(SpecError, match=re.escape(line)):
        backbones.load(backbone, 5, head_seed=0)


def test_a_damaged_an_incomplete_and_a_missing_folder_are_refused(folders, tmp_path):
    folder = copied(folders["transformers"], tmp_path)
    backbone = section("transformers", folder)
    assert backbones.check(backbone) == []
    model = backbones.load(backbone, 5, head_seed=0)
    weights = model.state_dict()
    del weights["vit.layers.1.mlp.fc1.weight"]
    small_vits.save_file(weights, folder / "model.safetensors")
    with pytest.raises(SpecError, match=r"its weights lack vit\.layers\.1\.mlp\.fc1\.weight"):
        backbones.load(backbone, 5, head_seed=0)
    (folder / "model.safetensors").write_bytes(b"0123456789")
    assert "is damaged" in backbones.check(backbone)[0]
    assert "no such folder" in backbones.check(section("timm", tmp_path / "nowhere"))[0]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_size_that_the_patches_do_not_tile_is_refused(folders, library):
    backbone = section(library, folders[library], image_size=SIZE + 1)
    with pytest.raises(SpecError, match=r"backbone\.image_size=33: not a multiple of the patch size 8"):
        backbones.meta(backbone, 5)


def test_a_library_that_is_not_the_folders_is_refused(folders):
    with pytest.raises(SpecError, match=r"backbone\.library=timm: small-vit is of transformers"):
        backbones.meta(section("timm", folders["transformers"]), 5)


def test_a_convolutional_model_takes_any_size(tmp_path):
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3)
    ResNetForImageClassification(config).save_pretrained(tmp_path)
    model = backbones.load(section("transformers", tmp_path, image_size=48), 5, head_seed=0)
    assert model(images(48)).logits.shape == (3, 5)


def test_a_cached_hub_model_is_found_offline(folders, tmp_path, monkeypatch):
    commit = "0" * 40
    repo = tmp_path / "models--owner--vit"
    copied(folders["transformers"], repo / "snapshots", commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    backbone = section("transformers", None, source="hub", hub="owner/vit", path=None, family="vision")
    assert backbones.load(backbone, 5, head_seed=0)(images()).logits.shape == (3, 5)


def test_what_the_hub_does_not_give_is_one_line():
    backbone = section("transformers", None, source="hub", hub="owner/no-such-vit", path=None)
    with pytest.raises(SpecError, match=r"backbone\.hub=owner/no-such-vit: offline mode") as refused:
        backbones.load(backbone, 5, head_seed=0)
    assert len(str(refused.value).splitlines()) == 1


def test_deit_tiny_at_its_native_size_and_at_half(shared_data):
    folder = shared_data / "deit-tiny-patch16-224"
    unmodified = AutoModelForImageClassification.from_pretrained(folder).eval()
    backbone = section("transformers", folder)
    model = with_the_pretrained_head(backbones.load(backbone, 1000, head_seed=0), unmodified)
    with torch.no_grad():
        assert torch.equal(model(images(224, 2)).logits, unmodified(images(224, 2)).logits)
        half = with_the_pretrained_head(backbones.load(backbone | {"image_size": 112}, 1000, head_seed=0), unmodified)
        assert half(images(112, 2)).logits.shape == (2, 1000)
    statistics = backbones.image_statistics(backbone)
    assert statistics.mean == (0.485, 0.456, 0.406)
    assert statistics.interpolation == "bicubic"


@pytest.mark.slow
def test_real_images_through_the_evaluation_transform_are_recognised(shared_data):
    backbone = section("transformers", shared_data / "deit-tiny-patch16-224", image_size=160)
    model = backbones.load(backbone, 1000, head_seed=0)
    model = with_the_pretrained_head(model, AutoModelForImageClassification.from_pretrained(backbone["path"]))
    rows = datasets.Dataset.from_parquet(str(shared_data / "dtd10" / "test.parquet"))
    cobwebbed = [row for row, label in enumerate(rows["label"]) if label == 6][:12]
    of = ImageExamples(rows.select(cobwebbed), evaluation_transform(160, backbones.image_statistics(backbone)))
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
