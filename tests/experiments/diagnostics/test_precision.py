from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from peft import LoraConfig, UniLoraConfig, VeraConfig

from experiments.diagnostics.distances import RandomPairs, plain, random_ratios
from experiments.diagnostics.linear import Columns
from experiments.diagnostics.precision import _dropped, dropout, precision
from experiments.diagnostics.weight_map import WeightMap
from gpart import GPartConfig
from tests.experiments.diagnostics.small import METHODS, TARGETS, adapted_to, gpt2_adapted_to, values_of, walked


def around(weight_map: WeightMap, radius: float, count: int = 20) -> RandomPairs:
    return RandomPairs(torch.zeros(weight_map.parameters).double(), radius, count, seed=0)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "fourierft"])
def test_shorter_types_blur_distances_in_the_order_of_their_precision(method: str) -> None:
    adapted = adapted_to(METHODS[method]())
    weight_map = WeightMap(adapted)
    pairs = around(weight_map, radius=1.0)
    exact = random_ratios(weight_map, plain(weight_map), pairs).mean
    found = precision(adapted, pairs, None)
    off = {name: abs(part.ratios.mean / exact - 1) for name, part in found}
    assert off["float32"] < 1e-6
    assert off["float32"] < off["float16"] < 1e-2
    assert off["float16"] < off["bfloat16"] < 5e-2


def test_a_change_below_the_rounding_of_the_weights_is_lost_or_blown_up() -> None:
    adapted = adapted_to(METHODS["gpart"]())
    weight_map = WeightMap(adapted)
    ratios = precision(adapted, around(weight_map, radius=1e-3), None).bfloat16.ratios
    assert max(abs(ratio - 1) for ratio in ratios.values) > 0.1


def test_what_arrives_is_what_the_converted_model_merges() -> None:
    adapted = adapted_to(METHODS["gpart"]())
    weight_map = WeightMap(adapted)
    pairs = around(weight_map, radius=0.5, count=2)
    found = precision(adapted, pairs, None).bfloat16.ratios.values
    half = adapted_to(METHODS["gpart"]())
    half.model.to(torch.bfloat16)
    (_, theta), base = half.adapter_parameters()[0], [b.weight.detach().clone() for b in weight_map.bases]
    layers: list[Any] = [half.model.base_model.model.get_submodule(w.name) for w in weight_map.weights]

    def merged(values: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            theta.copy_(values)
        for layer, weight in zip(layers, base, strict=True):
            layer.get_base_layer().weight.data = weight.to(torch.bfloat16)
        half.merge()
        result = torch.cat([layer.get_base_layer().weight.detach().double().flatten() for layer in layers])
        for layer in layers:
            layer.merged_adapters.clear()
        return result

    expected = sorted(float((merged(a) - merged(b)).norm() / (a - b).norm()) for a, b in pairs)
    assert found == pytest.approx(expected, rel=1e-12)


def test_gram_is_measured_of_linear_maps_alone() -> None:
    adapted = adapted_to(METHODS["gpart"]())
    weight_map = WeightMap(adapted)
    columns = Columns(weight_map, torch.Generator())
    found = precision(adapted, around(weight_map, 1.0, 2), columns)
    assert found.bfloat16.gram == columns.gram(torch.bfloat16)
    assert precision(adapted, around(weight_map, 1.0, 2), None).bfloat16.gram is None


def configs(probability: float, targets: list[str]) -> Iterator[Any]:
    conv1d = {"fan_in_fan_out": targets == ["c_attn"]}
    yield GPartConfig(d=24, dropout=probability, target_modules=targets)
    yield LoraConfig(r=2, lora_dropout=probability, target_modules=targets, **conv1d)
    yield UniLoraConfig(r=2, theta_d_length=20, unilora_dropout=probability, target_modules=targets, **conv1d)
    yield VeraConfig(r=3, vera_dropout=probability, target_modules=targets, **conv1d)


@pytest.mark.parametrize("number", range(4), ids=["gpart", "lora", "unilora", "vera"])
@pytest.mark.parametrize("build", [adapted_to, gpt2_adapted_to], ids=["bert", "gpt2"])
def test_the_mask_is_of_the_kind_that_training_draws(build: Any, number: int) -> None:
    """In training, each layer maps the identity to its own draw of what `_dropped` draws."""
    p = 0.4
    targets = TARGETS if build is adapted_to else ["c_attn"]
    adapted = build(list(configs(p, targets))[number])
    walked(adapted)
    weight_map = WeightMap(adapted)
    pieces = weight_map.pieces(values_of(weight_map, adapted))
    effect = _dropped(weight_map, 0)
    shares = []
    for weight in weight_map.weights:
        change, ours = weight_map.change(pieces, weight), effect(pieces, weight, 0)
        layer: Any = adapted.model.base_model.model.get_submodule(weight.name)
        one = torch.eye(weight.shape[0 if weight_map.stored_as_in_out(weight) else 1])
        layer.eval()
        plain_output = layer.base_layer(one)
        layer.train()
        theirs = (layer(one) - plain_output).detach().double()
        theirs = theirs if weight_map.stored_as_in_out(weight) else theirs.T
        for dropped in (ours, theirs):
            kept = dropped.abs() > change.abs() / 2
            torch.testing.assert_close(dropped, change / (1 - p) * kept, rtol=0, atol=1e-5)
            shares.append(float((~kept).double().mean()))
        axis = 1 if weight_map.stored_as_in_out(weight) else 0
        for dropped in (ours, theirs):
            whole = (dropped.abs() > change.abs() / 2).double().mean(axis)
            if number:  # of all but GPart whole columns, one per entry of the input
                assert set(whole.tolist()) <= {0.0, 1.0}
            else:
                assert not set(whole.tolist()) <= {0.0, 1.0}
    assert 0.15 < sum(shares) / len(shares) < 0.65


def test_dropout_is_null_without_any_and_draws_anew_for_each_pair() -> None:
    adapted = adapted_to(LoraConfig(r=2, target_modules=TARGETS))
    weight_map = WeightMap(adapted)
    assert dropout(weight_map, around(weight_map, 1.0)) is None
    adapted = adapted_to(GPartConfig(d=24, dropout=0.1, target_modules=TARGETS))
    weight_map = WeightMap(adapted)
    state = torch.get_rng_state()
    found = dropout(weight_map, around(weight_map, 1.0))
    assert found is not None
    assert torch.equal(state, torch.get_rng_state())
    assert found.probability == 0.1
    # Each entry that is kept is scaled by 1 / 0.9, so that squared distances are by 1 / 0.9 on average.
    assert found.ratios.mean == pytest.approx(0.9**-0.5, abs=0.02)
    assert len(set(found.ratios.values)) == 20
    assert dropout(weight_map, around(weight_map, 1.0)) == found
