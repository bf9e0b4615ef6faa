"""A weighted sum of adapters with one partition changes every weight by the weighted sum of their changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor

from tests.gpart.conformance.models import bits, layers, same_bits
from tests.gpart.small_models import SMALL, logits, randomise, tuner

LLAMA, BERT = SMALL["llama"], SMALL["bert"]
NAMES = ["one", "two", "six"]
WEIGHTS = [0.3, 0.7, -1.25]


def with_three(small: Any = LLAMA, **changes: Any) -> PeftModel:
    """A model with three adapters of one partition, the first active."""
    options = {"task_type": None, **changes}
    model = get_peft_model(small.new(), small.config(**options), adapter_name="one").eval()
    for name in NAMES[1:]:
        model.add_adapter(name, small.config(**options))
    for seed, name in enumerate(NAMES):
        randomise(model, name, seed)
    return model


def changes_of(model: PeftModel, adapter: str) -> list[Tensor]:
    """What an adapter adds to all weights and biases."""
    found = [layer.get_delta_weight(adapter) for layer in layers(model)]
    return found + [bias for layer in layers(model) if (bias := layer.get_delta_bias(adapter)) is not None]


@pytest.mark.parametrize("merged", [False, True], ids=["live", "merged"])
@pytest.mark.parametrize(
    ("small", "changes"),
    [
        (LLAMA, {}),
        (LLAMA, {"scheme": "block"}),
        (LLAMA, {"scheme": "balanced", "isometric": False, "scope": "transformer_block"}),
        (LLAMA, {"scheme": "signed_magnitude"}),
        (BERT, {"bias": "all", "dropout": 0.1}),
    ],
    ids=["hash", "block", "blocks", "signed_magnitude", "bias"],
)
def test_changes_add_up(small: Any, changes: dict[str, Any], merged: bool, tmp_path: Path) -> None:
    model = with_three(small, keep_base=True, **changes)
    if merged:
        model.merge_adapter(["one"])
        with pytest.warns(UserWarning, match="Unmerging the model first") as given:
            model.add_weighted_adapter(NAMES, WEIGHTS, "sum")
        assert len(given) == 1
    else:
        model.add_weighted_adapter(NAMES, WEIGHTS, "sum")
    parts = zip(*(changes_of(model, name) for name in NAMES), strict=True)
    expected = [sum(weight * part for weight, part in zip(WEIGHTS, three, strict=True)) for three in parts]
    assert len(expected) >= 4
    torch.testing.assert_close(changes_of(model, "sum"), expected, rtol=1e-5, atol=1e-6)
    model.set_adapter("sum")
    assert not torch.equal(logits(model), logits(small.new()))
    model.save_pretrained(str(tmp_path), selected_adapters=["sum"])
    loaded = PeftModel.from_pretrained(small.new(), str(tmp_path / "sum")).eval()
    assert torch.equal(logits(loaded), logits(model))


def test_the_sum_is_rounded_once_and_nothing_else_changes() -> None:
    model = with_three()
    before, output = bits(model), logits(model)
    model.add_weighted_adapter(["one", "two"], [1, 1e-4], "sum")
    thetas = [tuner(model).gpart_theta[name].double() for name in NAMES[:2]]
    assert torch.equal(tuner(model).gpart_theta["sum"], (thetas[0] + 1e-4 * thetas[1]).float())
    assert model.active_adapters == ["one"]
    assert torch.equal(logits(model), output)
    assert not tuner(model).gpart_theta["sum"].requires_grad
    model.delete_adapter("sum")
    assert same_bits(bits(model), before)


@pytest.mark.parametrize("autocast", [False, True])
def test_a_base_in_bfloat16_keeps_the_type_of_the_vectors(autocast: bool) -> None:
    model = get_peft_model(LLAMA.new().bfloat16(), LLAMA.config(), adapter_name="one", autocast_adapter_dtype=autocast)
    randomise(model, "one")
    model.add_weighted_adapter(["one"], [2.0], "sum")
    assert torch.equal(tuner(model).gpart_theta["sum"], 2 * tuner(model).gpart_theta["one"])
    assert tuner(model).gpart_theta["sum"].dtype == (torch.float32 if autocast else torch.bfloat16)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((["one", "two"], [1, 1], "sum", "svd"), "combination_type: 'svd'; accepted is 'linear', which is exact"),
        (
            (["one", "x"], [1, 1], "sum"),
            "adapters: .*'x'.*; accepted is a list of one or more of 'one', 'two', 'six', 'other'",
        ),
        ((["one", "two"], [1], "sum"), r"weights: \[1\]; accepted is a finite number for each of 2 adapters"),
        ((["one"], [float("nan")], "sum"), r"weights: \[nan\]; accepted is a finite number"),
        (([], [], "sum"), r"adapters: \[\]; accepted"),
        (("one", [1], "sum"), "adapters: 'one'; accepted is a list"),
        ((["one"], [1], "two"), "adapter_name: 'two' exists; accepted is a new name"),
        ((["one"], [1], "gpart"), "adapter_name: 'gpart' is contained"),
        ((["one", "other"], [1, 1], "sum"), r"'other' has another partition than 'one' \(seed 9, not 0\); accepted"),
        ((["one", "head"], [1, 1], "sum"), "'head' trains lm_head beside its vector, and such modules do not add up"),
    ],
)
def test_what_would_be_no_exact_sum_is_refused_and_changes_nothing(arguments: Any, reason: str) -> None:
    model = with_three()
    model.add_adapter("other", LLAMA.config(seed=9))
    if "head" in arguments[0]:
        model.add_adapter("head", LLAMA.config(modules_to_save=["lm_head"]))
    before = bits(model)
    with pytest.raises(ValueError, match=reason):
        model.add_weighted_adapter(*arguments)
    assert same_bits(bits(model), before)
    assert "sum" not in model.peft_config


def test_other_layers_of_the_same_number_are_another_partition() -> None:
    model = with_three()
    model.add_adapter("other", LLAMA.config(target_modules=["q_proj", "k_proj"]))
    with pytest.raises(ValueError, match=r"'other' has another partition than 'one' \(other layers\)"):
        model.add_weighted_adapter(["one", "other"], [1, 1], "sum")
