from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, UniLoraConfig, VeraConfig

from baselines import Adapted, HeadOnly
from experiments.diagnostics.weight_map import NotAWeightMapError, WeightMap
from gpart import GPartConfig
from tests.experiments.diagnostics.small import (
    METHODS,
    TARGETS,
    WEIGHTS,
    adapted_to,
    gpt2_adapted_to,
    values_of,
    walked,
)

ADAPTERS = [name for name in METHODS if name not in ("bitfit", "full")]


@pytest.mark.parametrize("method", ADAPTERS)
def test_the_map_gives_what_merging_adds_to_the_weights(method: str) -> None:
    adapted = adapted_to(METHODS[method]())
    walked(adapted)
    weight_map = WeightMap(adapted)
    pieces = weight_map.pieces(values_of(weight_map, adapted))
    before = [base.weight.detach().clone() for base in weight_map.bases]
    adapted.merge()
    assert weight_map.size == WEIGHTS
    for weight, old in zip(weight_map.weights, before, strict=True):
        module: Any = adapted.model.base_model.model.get_submodule(weight.name)
        merged = module.get_base_layer().weight - old
        torch.testing.assert_close(weight_map.change(pieces, weight).float(), merged, rtol=0, atol=1e-6)
        assert merged.abs().max() > 1e-3


@pytest.mark.parametrize("config", [GPartConfig, LoraConfig, UniLoraConfig, VeraConfig])
def test_conv1d_is_mapped_as_it_is_stored(config: Any) -> None:
    adapted = gpt2_adapted_to(
        config(target_modules=["c_attn"], fan_in_fan_out=True)
        if config is not GPartConfig
        else config(d=24, target_modules=["c_attn"])
    )
    walked(adapted)
    weight_map = WeightMap(adapted)
    assert [weight.shape for weight in weight_map.weights] == [(8, 24), (8, 24)]
    weight_map.check(values_of(weight_map, adapted), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", ["bitfit", "full"])
def test_where_weights_train_the_map_is_the_identity(method: str) -> None:
    adapted = adapted_to(METHODS[method]())
    weight_map = WeightMap(adapted)
    assert weight_map.is_identity
    assert weight_map.size == weight_map.parameters == adapted.theta
    pieces = weight_map.pieces(values_of(weight_map, adapted))
    for weight, (_, parameter) in zip(weight_map.weights, adapted.adapter_parameters(), strict=True):
        assert torch.equal(weight_map.change(pieces, weight), parameter.double())


@pytest.mark.parametrize("method", METHODS)
def test_blocks_are_the_independent_parts(method: str) -> None:
    adapted = adapted_to(METHODS[method]())
    walked(adapted)
    weight_map = WeightMap(adapted)
    blocks = weight_map.blocks()
    expected = {"gpart": 1, "gpart, not isometric": 1, "unilora": 1, "lora": 4, "vera": 4, "fourierft": 4}
    assert len(blocks) == expected.get(method, len(weight_map.trained))
    assert sorted(i for block in blocks for i in block.trained) == list(range(len(weight_map.trained)))
    assert sorted(k for block in blocks for k in block.weights) == list(range(len(weight_map.weights)))


def test_biases_that_a_peft_method_trains_are_weights_of_their_own() -> None:
    adapted = adapted_to(LoraConfig(r=2, target_modules=TARGETS, bias="lora_only"))
    weight_map = WeightMap(adapted)
    assert not weight_map.is_identity
    assert weight_map.parameters == adapted.theta
    assert weight_map.size == WEIGHTS + 2 * (8 + 12) == adapted.adapted_weights
    assert sum(block.identity for block in weight_map.blocks()) == 4


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (HeadOnly(), "head trains nothing outside the head"),
        (LoraConfig(r=2, target_modules=TARGETS, use_dora=True), "query: its output is not its base's"),
        (LoraConfig(r=2, target_modules=TARGETS, lora_bias=True), "query: its output is not its base's"),
        (LoraConfig(r=2, target_modules=["word_embeddings"]), "its base is a Embedding"),
        (IA3Config(target_modules=["query"], feedforward_modules=[]), "adds no change to a weight"),
    ],
)
def test_what_adds_nothing_to_dense_weights_is_refused_with_the_reason(config: Any, reason: str) -> None:
    adapted = adapted_to(config)
    with pytest.raises(NotAWeightMapError, match=reason):
        checked(adapted)


def checked(adapted: Adapted) -> None:
    weight_map = WeightMap(adapted)
    weight_map.check(torch.randn(weight_map.parameters).double(), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_it_was(method: str) -> None:
    adapted = adapted_to(METHODS[method]())
    before = copy.deepcopy(adapted.model.state_dict())
    trains = {name: p.requires_grad for name, p in adapted.model.named_parameters()}
    places = {name: p.data_ptr() for name, p in adapted.model.named_parameters()}
    checked(adapted)
    assert all(torch.equal(before[name], value) for name, value in adapted.model.state_dict().items())
    assert trains == {name: p.requires_grad for name, p in adapted.model.named_parameters()}
    assert places == {name: p.data_ptr() for name, p in adapted.model.named_parameters()}
    assert {value.dtype for name, value in before.items() if value.is_floating_point()} == {torch.float32}


def test_no_backbone_weight_is_copied() -> None:
    weight_map = WeightMap(adapted_to(METHODS["gpart"]()))
    storages = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in weight_map._layers.parameters()}
    assert sum(storages.values()) == 8 * (24 + 4)  # theta, and one zero for each base
