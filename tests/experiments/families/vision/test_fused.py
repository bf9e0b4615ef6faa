"""timm's fused attention, split: the same function, and the same adapted weights as on transformers' ViT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForImageClassification

from baselines import adapt
from experiments.families.vision.fused import SplitQKV, split_qkv
from gpart import GPartConfig
from tests.experiments.families.vision import small_vits
from tests.experiments.families.vision.small_vits import HIDDEN, LAYERS, SIZE, vision

D = 500


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vits")
    model = small_vits.save_transformers_vit(root / "transformers")
    small_vits.save_timm_vit(root / "timm", model.state_dict())
    return {"transformers": root / "transformers", "timm": root / "timm"}


def gpart_config(targets: list[str]) -> GPartConfig:
    return GPartConfig(d=D, target_modules=targets)


def lora_config(targets: list[str]) -> LoraConfig:
    return LoraConfig(r=2, target_modules=targets)


def load(folders: dict[str, Path], library: str, **changes: Any) -> nn.Module:
    return vision(library, folders[library], 5, **changes).load(head_seed=0)


@pytest.mark.parametrize("bias", [True, False])
def test_the_three_layers_compute_what_the_fused_one_does(bias):
    torch.manual_seed(0)
    fused = nn.Linear(24, 72, bias=bias)
    split = SplitQKV(fused)
    x = torch.randn(4, 5, 24)
    torch.testing.assert_close(split(x), fused(x), atol=1e-6, rtol=1e-6)
    query, key, value = fused(x).chunk(3, dim=-1)
    for layer, output in ((split.q_proj, query), (split.k_proj, key), (split.v_proj, value)):
        torch.testing.assert_close(layer(x), output, atol=1e-6, rtol=1e-6)
    before = fused.weight.detach().clone()
    split.q_proj.weight.data.zero_()
    assert torch.equal(fused.weight, before)  # its own memory
    fused.weight.requires_grad_(False)
    assert not SplitQKV(fused).v_proj.weight.requires_grad


def test_splitting_keeps_the_logits(folders):
    images = torch.randn(4, 3, SIZE, SIZE)
    fused, split = (load(folders, "timm", split_qkv=choice).eval() for choice in (False, True))
    torch.testing.assert_close(split(images).logits, fused(images).logits, atol=1e-6, rtol=1e-5)
    assert sum(p.numel() for p in split.parameters()) == sum(p.numel() for p in fused.parameters())


@pytest.mark.parametrize("method", [gpart_config, lora_config])
def test_counts_with_query_and_value_equal_those_of_transformers_vit(folders, method):
    ours = adapt(load(folders, "timm", split_qkv=True), method(["q_proj", "v_proj"]), head=["head"], init_seed=0)
    theirs = adapt(load(folders, "transformers"), method(["q_proj", "v_proj"]), head=["classifier"], init_seed=0)
    assert ours.adapted_weights == theirs.adapted_weights == LAYERS * 2 * HIDDEN**2
    counts = [sum(p.numel() for _, p in adapted.adapter_parameters()) for adapted in (ours, theirs)]
    assert counts[0] == counts[1] == (D if method is gpart_config else LAYERS * 2 * 2 * 2 * HIDDEN)
    assert ours.total == theirs.total
    fused = adapt(load(folders, "timm"), method(["qkv"]), head=["head"], init_seed=0)
    assert fused.adapted_weights == LAYERS * 3 * HIDDEN**2


@pytest.mark.parametrize("scheme", ["hash", "balanced"])
def test_one_adapter_is_the_same_change_in_both_libraries(folders, scheme):
    images = torch.randn(4, 3, SIZE, SIZE)
    config = GPartConfig(d=D, scheme=scheme, seed=3, target_modules=["q_proj", "v_proj"])
    logits = {}
    for library, head in (("timm", "head"), ("transformers", "classifier")):
        adapted = adapt(load(folders, library, split_qkv=library == "timm"), config, head=[head], init_seed=0)
        ((_, theta),) = adapted.adapter_parameters()
        with torch.no_grad():
            theta.copy_(torch.randn(D, generator=torch.Generator().manual_seed(5)))
        logits[library] = adapted.model.eval()(pixel_values=images).logits
        with adapted.model.disable_adapter():
            assert not torch.allclose(logits[library], adapted.model(pixel_values=images).logits, atol=1e-3)
    torch.testing.assert_close(logits["timm"], logits["transformers"], atol=1e-5, rtol=1e-4)


def test_merged_weights_of_a_split_model_give_the_adapted_logits(folders):
    images = torch.randn(2, 3, SIZE, SIZE)
    adapted = adapt(
        load(folders, "timm", split_qkv=True), gpart_config(["q_proj", "v_proj"]), head=["head"], init_seed=0
    )
    with torch.no_grad():
        adapted.adapter_parameters()[0][1].normal_()
    before = adapted.model.eval()(pixel_values=images).logits
    adapted.merge()
    assert torch.equal(adapted.model(pixel_values=images).logits, before)
    assert torch.equal(adapted.merged_model()(pixel_values=images).logits, before)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("beit_base_patch16_224", {"depth": 1, "embed_dim": 32, "num_heads": 2}, "qkv is a Linear of a Attention"),
        ("resnet18", {}, "ResNet has no fused qkv layer"),
    ],
)
def test_a_layer_whose_rows_are_not_known_is_refused(name, options, message):
    with torch.device("meta"):
        model = timm.create_model(name, **options)
    with pytest.raises(ValueError, match=message):
        split_qkv(model)
    assert not any(isinstance(module, SplitQKV) for module in model.modules())


def test_timms_deit_tiny_with_these_weights_gives_the_same_logits(shared_data, tmp_path):
    folder = shared_data / "deit-tiny-patch16-224"
    theirs = AutoModelForImageClassification.from_pretrained(folder).eval()
    save_file(small_vits.as_timm(theirs.state_dict()), tmp_path / "model.safetensors")
    description = {"architecture": "deit_tiny_patch16_224", "num_classes": 1000, "pretrained_cfg": {}}
    (tmp_path / "config.json").write_text(json.dumps(description), encoding="utf-8")
    ours = vision("timm", tmp_path, 1000, split_qkv=True).load(head_seed=0).eval()
    ours.timm_model.head.load_state_dict(theirs.classifier.state_dict())
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = theirs(images).logits
        torch.testing.assert_close(ours(images).logits, logits, atol=1e-4, rtol=1e-4)
    assert logits.std() > 0.1
    assert len(load_file(tmp_path / "model.safetensors")) == 152
