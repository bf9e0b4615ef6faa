"""torch.compile takes a model in one graph, and gives the outputs and gradients that the model gives without it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gpart.partition.schemes import SCHEMES
from tests.gpart.small_models import INPUTS, SMALL, Small, logits, tuner

EVERY = pytest.mark.parametrize("small", SMALL.values(), ids=SMALL.keys())
ROBERTA = SMALL["roberta"]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(model: nn.Module) -> Callable[..., Any]:
    """The model in one graph, on a backend that needs no C++ compiler."""
    result: Callable[..., Any] = torch.compile(model, fullgraph=True, backend="aot_eager")
    return result


def step(forward: Callable[..., Any], model: nn.Module) -> tuple[Tensor, Tensor]:
    """Outputs, and the gradient of the vector, scaled to length one."""
    theta = tuner(model).gpart_theta["default"]
    theta.grad = None
    torch.manual_seed(4)
    output = forward(input_ids=INPUTS).logits
    output.square().mean().backward()
    assert theta.grad is not None
    return output.detach(), theta.grad / theta.grad.norm()


@EVERY
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_a_model_is_one_graph_with_the_same_outputs_and_gradients(small: Small, training: bool) -> None:
    model = small.adapted_model(dropout=0.1, bias="all").train(training)
    torch.testing.assert_close(step(compiled(model), model), step(model, model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("scheme", "scope"), [*((scheme, "global") for scheme in SCHEMES), ("block", "transformer_block")]
)
def test_every_scheme_compiles(scheme: str, scope: str) -> None:
    model = ROBERTA.adapted_model(scheme=scheme, scope=scope)
    torch.testing.assert_close(step(compiled(model), model), step(model, model), rtol=1e-5, atol=1e-5)


def test_several_adapters_and_a_change_of_them() -> None:
    model = ROBERTA.adapted_model(task_type=None)
    model.add_adapter("other", ROBERTA.config(d=11, seed=9, scheme="block", task_type=None))
    with torch.no_grad():
        tuner(model).gpart_theta["other"].fill_(0.3)
    forward = compiled(model)
    outputs = []
    for names in (["default"], ["other"], ["default", "other"]):
        tuner(model).set_adapter(names)
        outputs.append(logits(model))
        with torch.no_grad():
            torch.testing.assert_close(forward(input_ids=INPUTS).logits, outputs[-1], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(outputs[0], outputs[1])
    assert not torch.allclose(outputs[1], outputs[2])


def test_copies_have_slices_of_their_own() -> None:
    """Graphs find slices by number, and a number outlives neither its model nor the process."""
    model = ROBERTA.adapted_model(scheme="block")
    copied = copy.deepcopy(model)
    expected = step(model, model)
    del model
    torch.testing.assert_close(step(compiled(copied), copied), expected, rtol=1e-5, atol=1e-5)


def test_in_half_precision_and_under_autocast() -> None:
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        model = ROBERTA.adapted_model()
        expected = logits(model)
        assert torch.equal(compiled(model)(input_ids=INPUTS).logits, expected)


def test_a_compiled_backward_holds_no_second_weight() -> None:
    model = ROBERTA.adapted_model(task_type=None, target_modules=["dense"])
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved: list[Tensor] = []
    forward = compiled(model)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        forward(input_ids=INPUTS)
    own = [t for t in saved if t.untyped_storage().data_ptr() not in weights]
    assert own
    # Inner layers' weights are 32x16; activations are 4x6 rows of at most 32.
    assert not any(t.shape in {(32, 16), (16, 32), (512,)} for t in own)
