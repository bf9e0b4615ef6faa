"""Blocks computed again in backward: the same masks and gradients, in every combination with the rest."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gpart import GPartLayer
from tests.gpart.small_models import INPUTS, SMALL, randomise, tuner
from tests.gpart.two_processes import PROCESSES, in_two_processes

LLAMA = SMALL["llama"]
REENTRANT = pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])


def checkpointed(model: PeftModel, **options: Any) -> PeftModel:
    """The model, with every transformer block checkpointed."""
    model.get_base_model().activation_checkpointing_enable(options)
    return model


def step(model: PeftModel, autocast: torch.dtype | None = None, forward: Any = None) -> tuple[Tensor, Tensor]:
    """Loss and the vector's gradient, with the same random numbers each time."""
    context: AbstractContextManager[Any] = nullcontext() if autocast is None else torch.autocast("cpu", dtype=autocast)
    theta = tuner(model).gpart_theta["default"]
    theta.grad = None
    torch.manual_seed(4)
    forward = model if forward is None else forward
    with context:
        loss = forward(input_ids=INPUTS).logits.float().square().mean()
    loss.backward()
    assert theta.grad is not None
    return loss.detach(), theta.grad


@REENTRANT
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16], ids=str)
def test_masks_and_types_are_those_of_the_first_forward(
    name: str, autocast: torch.dtype | None, reentrant: bool
) -> None:
    plain = SMALL[name].adapted_model(dropout=0.3).train()
    again = checkpointed(SMALL[name].adapted_model(dropout=0.3).train(), use_reentrant=reentrant)
    calls: list[nn.Module] = []
    for module in again.modules():
        if isinstance(module, GPartLayer):
            module.register_forward_pre_hook(lambda module, _: calls.append(module))
    expected = step(plain, autocast)
    # The blocks' parts of the vector's gradient may be added in another order.
    torch.testing.assert_close(step(again, autocast), expected, rtol=1e-6, atol=1e-6 * float(expected[1].abs().max()))
    assert len(calls) == 2 * len(set(calls)) > 0


@REENTRANT
def test_without_the_state_of_the_generator_masks_differ(reentrant: bool) -> None:
    model = LLAMA.adapted_model(dropout=0.3).train()
    loss, gradient = step(model)
    other_loss, other = step(checkpointed(model, use_reentrant=reentrant, preserve_rng_state=False))
    assert torch.equal(loss, other_loss)
    assert (other - gradient).norm() > 0.01 * gradient.norm()


@REENTRANT
def test_several_adapters_draw_their_masks_in_the_same_order(reentrant: bool) -> None:
    model = LLAMA.adapted_model(dropout=0.3).train()
    model.add_adapter("other", LLAMA.config(d=11, seed=9, scheme="block", dropout=0.5))
    randomise(model, "other", seed=8)
    tuner(model).set_adapter(["default", "other"])
    expected = step(model)
    torch.testing.assert_close(step(checkpointed(model, use_reentrant=reentrant)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("autocast", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scheme", ["hash", "block"])
def test_a_checkpointed_model_compiles_to_one_graph(scheme: str, autocast: torch.dtype | None) -> None:
    torch._dynamo.reset()
    model = LLAMA.adapted_model(dropout=0.3, scheme=scheme).train()
    expected = step(model, autocast)
    base = checkpointed(model, use_reentrant=False).get_base_model()
    base.config.use_cache = False  # transformers warns of it, and a graph cannot
    base.disable_input_require_grads()  # a hook that a graph cannot hold, and that reentrant checkpointing alone needs
    forward = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(step(model, autocast, forward), expected, rtol=1e-5, atol=1e-5)


# Together with DDP

STEPS, BATCH = 3, 8
RIGHT: dict[str, dict[str, Any]] = {
    "non-reentrant": {"reentrant": False},
    "non-reentrant, compiled": {"reentrant": False, "compiled": True},
    "non-reentrant, static graph": {"reentrant": False, "static_graph": True},
    "reentrant, static graph": {"reentrant": True, "static_graph": True},
}


def trained(rank: int = 0, processes: int = 1, *, reentrant: bool, compiled: bool = False, **ddp: Any) -> Tensor:
    """The vector after some steps on this process's part of each batch, with masks that all processes draw alike."""
    torch._dynamo.reset()
    model = checkpointed(LLAMA.adapted_model(dropout=0.3).train(), use_reentrant=reentrant)
    theta = tuner(model).gpart_theta["default"]
    forward: Any = model if processes == 1 else DistributedDataParallel(model, **ddp)
    if compiled:
        forward = torch.compile(forward, backend="aot_eager")
    # The gradients are not large against eps, so that a wrong factor in them is seen.
    optimizer = torch.optim.AdamW([theta], lr=0.5, eps=0.1)
    generator = torch.Generator().manual_seed(5)
    for number in range(STEPS):
        ids = torch.randint(3, 50, (BATCH, 6), generator=generator)[rank::processes]
        optimizer.zero_grad()
        torch.manual_seed(number)
        forward(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    return theta.detach()


def in_every_way(rank: int) -> dict[str, Tensor]:
    """What each way comes to; reentrant checkpointing without a static graph is refused."""
    results = {key: trained(rank, PROCESSES, **options) for key, options in RIGHT.items()}
    with pytest.raises(ValueError, match="use_reentrant: True under DistributedDataParallel; accepted are False, and"):
        trained(rank, PROCESSES, reentrant=True)
    return results


@pytest.mark.slow
def test_two_processes_come_to_the_vector_of_one(tmp_path: Path) -> None:
    first, second = in_two_processes(tmp_path, in_every_way)
    start, alone = tuner(LLAMA.adapted_model()).gpart_theta["default"].detach(), trained(reentrant=False)
    assert (alone - start).abs().max() > 1e-2
    for key in RIGHT:
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], alone, rtol=0, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")
