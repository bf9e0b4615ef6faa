"""Training: only the vector and the head move, the loss falls, and what interrupts it changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn

from tests.gpart.conformance.models import (
    EACH_MODEL,
    EACH_TRANSFORMER,
    EACH_VARIANT,
    Model,
    bits,
    randomise,
    theta,
)

REENTRANT = pytest.mark.parametrize("use_reentrant", [False, True], ids=["plain", "reentrant"])


def loss_of(model: Model, adapted: nn.Module) -> Tensor:
    """Cross-entropy with labels that follow from the row alone."""
    output = model.output(adapted)
    output = output if output.dim() == 2 else output[:, -1]
    return nn.functional.cross_entropy(output, torch.arange(len(output)) % output.shape[-1])


def trained(model: Model, adapted: nn.Module, steps: int, rate: float = 0.02) -> list[float]:
    """Losses before and after each of `steps` of Adam."""
    optimizer = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], lr=rate)
    losses = []
    for _ in range(steps):
        loss = loss_of(model, adapted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return [*losses, loss_of(model, adapted).item()]


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@EACH_VARIANT
def test_training_lowers_the_loss_and_moves_the_vector_alone(model: Model, variant: dict[str, Any]) -> None:
    adapted = model.adapted(vector=None, **variant)
    before = bits(adapted)
    losses = trained(model, adapted, steps=8, rate=0.2)
    assert losses[-1] < 0.95 * losses[0]
    assert moved(before, bits(adapted)) == {"base_model.gpart_theta.default"}
    with adapted.disable_adapter():
        assert torch.equal(model.output(adapted), model.output(model.new()))


@EACH_VARIANT
def test_gradients_reach_every_coordinate_and_nothing_else(model: Model, variant: dict[str, Any]) -> None:
    adapted = model.adapted(vector=None, **variant).train()
    model.output(adapted).square().sum().backward()
    assert {name for name, p in adapted.named_parameters() if p.grad is not None} == {"base_model.gpart_theta.default"}
    assert theta(adapted).grad.shape == theta(adapted).shape
    assert (theta(adapted).grad != 0).sum() >= 0.8 * theta(adapted).numel()


@EACH_MODEL
def test_the_head_trains_beside_the_vector(model: Model) -> None:
    adapted = model.adapted(vector=None, modules_to_save=[model.head])
    before = bits(adapted)
    trained(model, adapted, steps=2)
    head = adapted.get_base_model().get_submodule(model.head).modules_to_save["default"]
    assert moved(before, bits(adapted)) == {"base_model.gpart_theta.default"} | {
        f"{model.head}.modules_to_save.default.{name}" for name, _ in head.named_parameters()
    }


@EACH_MODEL
def test_training_one_adapter_leaves_the_others(model: Model) -> None:
    adapted = model.adapted()
    adapted.add_adapter("other", model.config(d=11, seed=9))
    randomise(adapted, "other")
    adapted.set_adapter("other")
    before = bits(adapted)
    trained(model, adapted, steps=2)
    assert moved(before, bits(adapted)) == {"base_model.gpart_theta.other"}


@EACH_MODEL
def test_a_loaded_adapter_goes_on_as_if_it_had_not_been_away(model: Model, tmp_path: Path) -> None:
    whole, part = (model.adapted(vector=None) for _ in range(2))
    trained(model, whole, steps=2)
    trained(model, part, steps=2)
    part.save_pretrained(tmp_path)
    back = PeftModel.from_pretrained(model.new(), str(tmp_path), is_trainable=True)
    assert trained(model, back, steps=3) == trained(model, whole, steps=3)
    assert torch.equal(theta(back), theta(whole))


@EACH_MODEL
def test_what_is_trained_and_merged_is_what_was_trained(model: Model) -> None:
    adapted = model.adapted(vector=None, dropout=0.1).train()
    trained(model, adapted, steps=2)
    output = model.output(adapted.eval())
    assert torch.equal(model.output(adapted.merge_and_unload()), output)
    assert not torch.equal(output, model.output(model.new()))


@EACH_TRANSFORMER
@REENTRANT
def test_gradient_checkpointing_changes_no_gradient(model: Model, use_reentrant: bool) -> None:
    gradients = []
    for checkpointing in (False, True):
        adapted = model.adapted(dropout=0.1)
        if checkpointing:
            adapted.enable_input_require_grads()
            adapted.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        adapted.train()
        torch.manual_seed(4)
        model.output(adapted).square().sum().backward()
        gradients.append(theta(adapted).grad)
        assert {name for name, p in adapted.named_parameters() if p.grad is not None} == {
            "base_model.gpart_theta.default"
        }
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
    assert gradients[0].abs().max() > 0
