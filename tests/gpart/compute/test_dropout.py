"""Dropout on the entries of the change: a seed in place of a mask, and the same mask wherever it is made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn

from gpart import GPartConfig, GPartLayer, Partition
from gpart.compute.dropout import draw_mask_seed, mask
from gpart.compute.slices import LayerSlice
from tests.gpart.small_models import randomise

IN, OUT = 5, 7


def adapted(dropout: float, out: int = OUT, dtype: torch.dtype = torch.float64) -> GPartLayer:
    """A layer in training mode, with a vector that is not zero."""
    torch.manual_seed(1)
    thetas = nn.ParameterDict({"a": torch.randn(6, dtype=dtype)})
    layer = GPartLayer(nn.Linear(IN, out).to(dtype).requires_grad_(False), thetas)
    layer.gpart_slices["a"] = LayerSlice(Partition(d=6, layer_sizes=[out * IN]), 0, dropout, False)
    layer.set_adapter("a")
    return layer.train()


def test_entries_of_the_change_are_dropped_in_training_only() -> None:
    layer, x = adapted(0.25), torch.eye(IN, dtype=torch.float64)
    full = (layer.eval()(x) - layer.base_layer(x)).T
    torch.manual_seed(0)
    layer.train()
    masked = (layer(x) - layer.base_layer(x)).T
    kept = masked.abs() > 1e-12
    torch.testing.assert_close(masked[kept], full[kept] / 0.75)
    assert 0 < int((~kept).sum()) < kept.numel()
    shares = torch.stack([((layer(x) - layer.base_layer(x)).T.abs() <= 1e-12).double() for _ in range(400)])
    # 400 * 35 draws: three standard deviations are 0.011.
    assert abs(float(shares.mean()) - 0.25) < 0.011
    torch.manual_seed(0)
    assert torch.equal((layer(x) - layer.base_layer(x)).T, masked)


def test_backward_makes_the_mask_of_the_forward_again() -> None:
    layer, x = adapted(0.5), torch.randn(4, IN, dtype=torch.float64, requires_grad=True)
    out = layer(x)
    before = torch.get_rng_state()
    (grad_x,) = torch.autograd.grad(out.sum(), x)
    # The output is linear in x: its gradient is the effective weight of that very forward.
    torch.testing.assert_close((grad_x * x).sum() + layer.bias.sum() * 4, out.sum())
    assert torch.equal(torch.get_rng_state(), before), "backward draws nothing from torch's generator"


def held(layer: GPartLayer, x: Tensor) -> int:
    """Bytes that a forward keeps for backward, beside input and base weight."""
    saved: dict[int, int] = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t, lambda t: t
    ):
        layer(x)
    own = {t.untyped_storage().data_ptr() for t in (x, layer.base_layer.weight)}
    return sum(size for storage, size in saved.items() if storage not in own)


def test_no_mask_is_kept() -> None:
    x = torch.randn(2, IN, requires_grad=True)
    plain, dropped = (held(adapted(p, out=4096, dtype=torch.float32), x) for p in (0.0, 0.3))
    # A seed, and the vector scaled up.
    assert dropped - plain <= 8 + 2 * 6 * 4


def model() -> PeftModel:
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    config = GPartConfig(d=20, dropout=0.3, target_modules=["0", "2"])
    adapter = get_peft_model(base, config, autocast_adapter_dtype=False).train()
    randomise(adapter)
    return adapter


def seeded(adapter: PeftModel, x: Tensor) -> Callable[[Tensor], Tensor]:
    """The model as a function of its vector, with the same masks each time."""

    def function(theta: Tensor) -> Tensor:
        torch.manual_seed(1)
        output: Tensor = torch.func.functional_call(adapter, {"base_model.gpart_theta.default": theta}, (x,))
        return output

    return function


def test_derivatives_are_those_of_one_function_in_every_mode() -> None:
    function = seeded(model(), torch.randn(3, 8, dtype=torch.float64))
    start = torch.randn(20, dtype=torch.float64)
    assert torch.autograd.gradcheck(function, (start.requires_grad_(),), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, (start,))
    start = start.detach()
    expected = torch.autograd.functional.jacobian(function, start)
    for other in (
        torch.autograd.functional.jacobian(function, start, vectorize=True),
        torch.func.jacrev(function)(start),
        torch.func.jacfwd(function, randomness="same")(start),
    ):
        torch.testing.assert_close(other, expected, rtol=1e-12, atol=1e-12)


def test_vmap_lets_its_caller_choose() -> None:
    adapter, x = model(), torch.randn(3, 8, dtype=torch.float64)
    theta = torch.randn(20, dtype=torch.float64).expand(2, -1)

    def loss(value: Tensor) -> Tensor:
        parameters: Any = {"base_model.gpart_theta.default": value}
        result: Tensor = torch.func.functional_call(adapter, parameters, (x,)).square().sum()
        return result

    same, different = (torch.func.vmap(torch.func.grad(loss), randomness=r)(theta) for r in ("same", "different"))
    assert torch.equal(same[0], same[1])
    assert not torch.allclose(different[0], different[1])
    with pytest.raises(RuntimeError, match="randomness"):
        torch.func.vmap(loss)(theta)


def test_a_mask_is_a_function_of_its_seed() -> None:
    torch.manual_seed(3)
    like = torch.empty(50, 40)
    first, second = draw_mask_seed(0.4, like), draw_mask_seed(0.4, like)
    assert first.shape == second.shape == ()
    assert torch.equal(mask(first, 0.4, like), mask(first, 0.4, like))
    assert not torch.equal(mask(first, 0.4, like), mask(second, 0.4, like))
    assert torch.equal(mask(mask(first, 0.4, like), 0.4, like), mask(first, 0.4, like))


def test_under_a_default_device_the_seed_stays_on_the_cpu() -> None:
    with torch.device("meta"):
        assert draw_mask_seed(0.4, torch.empty(3)).device.type == "cpu"
