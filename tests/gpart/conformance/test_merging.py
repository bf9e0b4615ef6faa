"""Merging: the same bits as before it, and the base's bits after it is undone."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import nn

from tests.gpart.conformance.models import (
    EACH_MODEL,
    EACH_VARIANT,
    MODELS,
    Model,
    bits,
    layers,
    randomise,
    same_bits,
    theta,
    tuner,
)

SAFE = pytest.mark.parametrize("safe_merge", [False, True], ids=["plain", "safe"])
HALF = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


def two_adapters(model: Model, **changes: Any) -> PeftModel:
    """A model with a second adapter of other values, of which the first alone is active."""
    adapted = model.adapted(**changes)
    adapted.add_adapter("other", model.config(d=11, seed=9, scheme="balanced", **changes))
    randomise(adapted, "other", seed=8)
    return adapted


def has_tuner(model: nn.Module) -> bool:
    return any(isinstance(module, BaseTunerLayer) for module in model.modules())


@EACH_VARIANT
def test_merging_keeps_the_output_and_unmerging_the_weights(model: Model, variant: dict[str, Any]) -> None:
    adapted = model.adapted(keep_base=True, **variant)
    before, weights = model.output(adapted), bits(adapted)
    adapted.merge_adapter()
    assert all(layer.merged_adapters == ["default"] for layer in layers(adapted))
    assert not same_bits(bits(adapted), weights)
    assert torch.equal(model.output(adapted), before)
    adapted.unmerge_adapter()
    assert same_bits(bits(adapted), weights)
    assert torch.equal(model.output(adapted), before)
    merged = adapted.merge_and_unload()
    assert torch.equal(model.output(merged), before)


@EACH_MODEL
@HALF
def test_the_same_holds_in_half_precision(model: Model, dtype: torch.dtype) -> None:
    adapted = model.adapted(dtype, keep_base=True)
    before, weights = model.output(adapted, dtype), bits(adapted)
    adapted.merge_adapter()
    assert torch.equal(model.output(adapted, dtype), before)
    adapted.unmerge_adapter()
    assert same_bits(bits(adapted), weights)


@EACH_MODEL
def test_unmerging_without_the_base_is_up_to_rounding(model: Model) -> None:
    adapted = model.adapted()
    weights = bits(adapted)
    adapted.merge_adapter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Unmerging by subtraction")
        adapted.unmerge_adapter()
    torch.testing.assert_close(bits(adapted), weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize("undo", ["unmerge", "forward"])
def test_unmerging_warns_once_with_the_largest_rounding(undo: str) -> None:
    model = MODELS[-1]
    adapted = model.adapted()
    weights = bits(adapted)
    adapted.merge_adapter()
    if undo == "forward":
        adapted.base_model.disable_adapter_layers()
    with pytest.warns(UserWarning, match="Unmerging by subtraction") as given:
        _ = model.output(adapted) if undo == "forward" else adapted.unmerge_adapter()
    assert len(given) == 1
    rounding = max(float((value - weights[name]).abs().max()) for name, value in bits(adapted).items())
    assert f"up to {rounding:.0e} off" in str(given[0].message)
    with pytest.warns(UserWarning, match="Already unmerged") as given:
        adapted.unmerge_adapter()
    assert len(given) == 1


@EACH_MODEL
@SAFE
def test_what_is_unloaded_is_a_plain_model(model: Model, safe_merge: bool, tmp_path: Path) -> None:
    adapted = model.adapted()
    before = model.output(adapted)
    merged = adapted.merge_and_unload(safe_merge=safe_merge)
    plain = model.new()
    assert type(merged) is type(plain)
    assert not has_tuner(merged)
    assert not hasattr(merged, "peft_config")
    assert {name: (type(m), m.training) for name, m in merged.named_modules()} == {
        name: (type(m), m.training) for name, m in plain.named_modules()
    }
    save_file(merged.state_dict(), tmp_path / "merged.safetensors")
    plain.load_state_dict(load_file(tmp_path / "merged.safetensors"))
    assert torch.equal(model.output(plain), before)
    assert torch.equal(model.output(pickle.loads(pickle.dumps(merged))), before)


@EACH_MODEL
def test_unload_gives_the_base_back(model: Model) -> None:
    unloaded = model.adapted().unload()
    assert not has_tuner(unloaded)
    assert same_bits(bits(unloaded), bits(model.new()))


@EACH_MODEL
def test_merging_twice_changes_nothing_and_says_so(model: Model) -> None:
    adapted = model.adapted()
    adapted.merge_adapter()
    merged = bits(adapted)
    with pytest.warns(UserWarning, match="All adapters are already merged, nothing to do"):
        adapted.merge_adapter()
    assert same_bits(bits(adapted), merged)


@EACH_MODEL
@pytest.mark.parametrize("bad", [torch.nan, torch.inf], ids=str)
def test_a_safe_merge_refuses_what_is_not_finite_and_leaves_the_weights(model: Model, bad: float) -> None:
    adapted = model.adapted()
    with torch.no_grad():
        theta(adapted)[0] = bad
    weights = bits(adapted.get_base_model())
    refused = pytest.raises(ValueError, match=r"NaNs detected in the merged weights\. The adapter default seems")
    with refused:
        adapted.merge_adapter(safe_merge=True)
    assert not layers(adapted)[0].merged
    assert same_bits(bits(adapted.get_base_model()), weights)
    with refused:
        adapted.merge_and_unload(safe_merge=True)
    assert same_bits(bits(adapted.get_base_model()), weights)


@EACH_MODEL
def test_dropout_plays_no_part_in_merging(model: Model) -> None:
    adapted = model.adapted(dropout=0.5)
    evaluated = model.output(adapted)
    merged = [copy.deepcopy(adapted).train().merge_and_unload() for _ in range(2)]
    assert same_bits(bits(merged[0]), bits(merged[1]))
    assert torch.equal(model.output(merged[0].eval()), evaluated)


@EACH_MODEL
def test_disabling_what_is_merged_gives_the_base_s_output(model: Model) -> None:
    adapted = model.adapted(keep_base=True)
    before = model.output(adapted)
    adapted.merge_adapter()
    with adapted.disable_adapter():
        assert torch.equal(model.output(adapted), model.output(model.new()))
    assert torch.equal(model.output(adapted), before)


@EACH_MODEL
def test_several_adapters_merge_together_one_by_one_and_by_name(model: Model) -> None:
    adapted = two_adapters(model, keep_base=True)
    first = model.output(adapted)
    adapted.set_adapter("other")
    second = model.output(adapted)
    tuner(adapted).set_adapter(["default", "other"])
    both, weights = model.output(adapted), bits(adapted)
    assert not any(torch.equal(a, b) for a, b in ((first, second), (first, both), (second, both)))
    adapted.merge_adapter()
    assert torch.equal(model.output(adapted), both)
    adapted.unmerge_adapter()
    adapted.merge_adapter(["default"])
    adapted.merge_adapter(["other"])
    assert torch.equal(model.output(adapted), both)
    adapted.unmerge_adapter()
    assert same_bits(bits(adapted), weights)
    for names, expected in ((["default"], first), (["other"], second), (["default", "other"], both)):
        assert torch.equal(model.output(copy.deepcopy(adapted).merge_and_unload(adapter_names=names)), expected)


@EACH_MODEL
def test_what_is_merged_is_not_deleted_and_the_rest_is(model: Model) -> None:
    adapted = two_adapters(model)
    adapted.merge_adapter(["default"])
    with pytest.raises(ValueError, match=r"Cannot delete adapter\(s\) \['default'\] while they are merged"):
        adapted.delete_adapter("default")
    assert list(adapted.peft_config) == ["default", "other"]
    adapted.delete_adapter("other")
    assert all(layer.merged_adapters == ["default"] for layer in layers(adapted))
    adapted.unmerge_adapter()
    adapted.delete_adapter("default")
    assert not adapted.peft_config
