"""Outputs and gradients are those of the base with W + P theta in place of its weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn

from tests.gpart.conformance.models import EACH_MODEL, EACH_VARIANT, Model, bits, layers, same_bits, theta, tuner


def effective(model: nn.Module, base: nn.Module) -> dict[str, Tensor]:
    """W + P theta by name in the base: each layer's weight, then its bias if that takes part."""
    partition = tuner(model).partition()
    change = partition.project(theta(model).detach())
    found, start = {}, 0
    for layer in partition.layers:
        for name in ("weight", "bias") if layer.bias else ("weight",):
            tensor = base.get_parameter(f"{layer.name}.{name}").detach()
            found[f"{layer.name}.{name}"] = tensor + change[start : start + tensor.numel()].view(tensor.shape)
            start += tensor.numel()
    assert start == len(change)
    return found


@EACH_VARIANT
def test_a_new_adapter_changes_no_bit_of_the_output(model: Model, variant: dict[str, Any]) -> None:
    base = model.new()
    before = model.output(base)
    assert torch.equal(model.output(get_peft_model(base, model.config(**variant))), before)


@EACH_VARIANT
def test_the_output_is_the_base_s_with_the_effective_weights(model: Model, variant: dict[str, Any]) -> None:
    adapted, base = model.adapted(**variant), model.new()
    plain = model.output(base)
    with torch.no_grad():
        for name, tensor in effective(adapted, base).items():
            base.get_parameter(name).copy_(tensor)
    torch.testing.assert_close(model.output(adapted), model.output(base), rtol=1e-5, atol=1e-6)
    assert (model.output(adapted) - plain).abs().max() > 0.02


@EACH_VARIANT
def test_the_gradient_is_the_adjoint_of_the_weights_gradients(model: Model, variant: dict[str, Any]) -> None:
    adapted, base = model.adapted(torch.float64, **variant), model.new(torch.float64)
    tensors = {name: tensor.requires_grad_() for name, tensor in effective(adapted, base).items()}
    inputs = {name: x.double() if x.is_floating_point() else x for name, x in model.inputs.items()}
    found = torch.func.functional_call(base, tensors, (), kwargs=inputs)
    loss = (found if isinstance(found, Tensor) else found.logits).square().sum()
    flat = torch.cat([gradient.reshape(-1) for gradient in torch.autograd.grad(loss, list(tensors.values()))])
    model.output(adapted, torch.float64).square().sum().backward()
    expected = tuner(adapted).partition().adjoint(flat)
    torch.testing.assert_close(theta(adapted).grad, expected, rtol=1e-8, atol=1e-10)
    assert expected.abs().max() > 0


@EACH_MODEL
def test_dropout_acts_in_training_alone_and_follows_the_seed(model: Model) -> None:
    adapted, plain = model.adapted(dropout=0.5), model.adapted()
    assert torch.equal(model.output(adapted), model.output(plain))
    for layer in layers(adapted):  # and not the base, which may have a dropout of its own
        layer.training = True

    def seeded(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return model.output(adapted)

    assert torch.equal(seeded(0), seeded(0))
    assert not torch.equal(seeded(0), seeded(1))


@EACH_MODEL
def test_disabled_is_the_base_and_enabled_again_the_same_as_before(model: Model) -> None:
    adapted, plain = model.adapted(), model.output(model.new())
    before = model.output(adapted)
    with adapted.disable_adapter():
        assert torch.equal(model.output(adapted), plain)
        with adapted.disable_adapter():
            assert torch.equal(model.output(adapted), plain)
        assert torch.equal(model.output(adapted), plain)
    assert torch.equal(model.output(adapted), before)
    assert not torch.equal(before, plain)
    with pytest.raises(RuntimeError, match="inside"), adapted.disable_adapter():
        raise RuntimeError("inside")
    assert torch.equal(model.output(adapted), before)


@EACH_MODEL
def test_the_forward_changes_nothing_in_the_model(model: Model) -> None:
    adapted = model.adapted(dropout=0.1).train()
    before = bits(adapted)
    model.output(adapted).sum().backward()
    assert same_bits(bits(adapted), before)


@EACH_MODEL
def test_layers_show_what_they_wrap(model: Model) -> None:
    adapted = model.adapted()
    base = model.new()
    for record, layer in zip(tuner(adapted).partition().layers, layers(adapted), strict=True):
        wrapped = base.get_submodule(record.name)
        assert type(layer.get_base_layer()) is type(wrapped)
        assert layer.weight.shape == wrapped.weight.shape == record.shape
        assert (layer.bias is None) is (wrapped.bias is None) if hasattr(wrapped, "bias") else True
        assert repr(layer).startswith("gpart.GPart")
        assert repr(wrapped).replace("\n", "\n  ") in repr(layer)
        assert layer.in_features * layer.out_features <= wrapped.weight.numel() * getattr(wrapped, "groups", 1)
    assert repr(layers(adapted)[0]).split("(")[0] in repr(adapted)
