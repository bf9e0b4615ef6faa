"""What half precision and autocast cost: one rounding of the weight, one of its gradient, and nothing in their sums."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from gpart import GPartLayer, Partition
from gpart.compute.slices import LayerSlice

D, BEFORE = 40, 50
HALF = (torch.bfloat16, torch.float16)
#: The largest relative error of one rounding; what float16 rounds below its normal range is off by up to 2**-25.
UNIT = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
LEAST = 2.0**-25
#: 1/sqrt(size) takes two roundings and the product with it a third; the fourth is for their products.
SCALED = 4 * UNIT[torch.float32]

# Of each kind about 400 weights; 24 rows, or one image of 5x5, or 24 tokens of which none occurs more than twice.
KINDS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(16, 24), (2, 12, 16)),
    "conv1d": (Conv1D(24, 16), (2, 12, 16)),
    "conv2d": (nn.Conv2d(8, 6, 3, padding=1), (1, 8, 5, 5)),
    "embedding": (nn.Embedding(32, 12), (2, 12)),
}
EACH = [
    pytest.mark.parametrize("kind", KINDS),
    pytest.mark.parametrize("scheme", ["hash", "block"]),
    pytest.mark.parametrize("dtype", UNIT, ids=str),
    pytest.mark.parametrize("autocast", [None, *HALF], ids=str),
]


def every(function: Any) -> Any:
    """Every kind of layer, scheme, type of the base and type of autocast."""
    for mark in EACH:
        function = mark(function)
    return function


def wrapped(base: nn.Module, scheme: str = "hash", d: int = D, before: int = BEFORE) -> GPartLayer:
    """The base, its bias included, behind others in a partition, with a float32 vector; only the vector is trained."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    layer = GPartLayer(base.requires_grad_(False), nn.ParameterDict({"a": torch.randn(d, generator=generator)}))  # type: ignore[arg-type]
    partition = Partition(scheme=scheme, d=d, seed=1, layer_sizes=[before, *(p.numel() for p in base.parameters())])
    layer.gpart_slices["a"] = LayerSlice(partition, 1, 0.0, False)
    if getattr(base, "bias", None) is not None:
        layer.gpart_bias_slices["a"] = LayerSlice(partition, 2, 0.0, False)
    layer.set_adapter("a")
    return layer


def adapted(kind: str, scheme: str, dtype: torch.dtype) -> GPartLayer:
    return wrapped(copy.deepcopy(KINDS[kind][0]).to(dtype), scheme)


def groups(layer: GPartLayer) -> tuple[Tensor, Tensor]:
    """The group of each of the layer's weights and biases, (n,), and the sizes of all groups, (d,)."""
    partition = layer.gpart_slices["a"].partition
    return partition.group_ids(partition.offsets[1], partition.n), partition.group_sizes


def effective(layer: GPartLayer) -> dict[str, Tensor]:
    """Weight and bias plus P theta: added in float32, rounded once."""
    ids, sizes = groups(layer)
    change = (layer.gpart_theta["a"].detach() * (1 / torch.sqrt(sizes.float())))[ids]
    parameters = dict(layer.get_base_layer().named_parameters())
    parts = change.split([p.numel() for p in parameters.values()])
    return {
        name: (p.float() + part.view(p.shape)).to(p.dtype)
        for (name, p), part in zip(parameters.items(), parts, strict=True)
    }


def under(autocast: torch.dtype | None) -> AbstractContextManager[Any]:
    return nullcontext() if autocast is None else torch.autocast("cpu", dtype=autocast)


def values(kind: str, whole: bool) -> Tensor:
    """An input of the kind: tokens, or whole numbers from -2 to 2, or normal ones."""
    shape, generator = KINDS[kind][1], torch.Generator().manual_seed(1)
    if kind == "embedding":
        tokens = torch.cat([torch.randperm(14, generator=generator), torch.randperm(10, generator=generator)])
        return tokens.view(shape)
    return (
        torch.randint(-2, 3, shape, generator=generator).float() if whole else torch.randn(shape, generator=generator)
    )


def outward(out: Tensor, whole: bool) -> Tensor:
    """A gradient of the output, of its type."""
    generator = torch.Generator().manual_seed(2)
    drawn = (
        torch.randint(-2, 3, out.shape, generator=generator) if whole else torch.randn(out.shape, generator=generator)
    )
    return drawn.to(out.dtype)


def own_gradient(layer: GPartLayer, x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of weight and bias, flat, in float64."""
    base = copy.deepcopy(layer.get_base_layer()).double().requires_grad_()
    base(x.double() if x.is_floating_point() else x).backward(gradient.double())
    return torch.cat([p.grad.reshape(-1) for p in base.parameters()])


def collected(layer: GPartLayer, flat: Tensor) -> Tensor:
    """P^T of the layer's part, (n,) to (d,), in float64."""
    ids, sizes = groups(layer)
    return torch.zeros(sizes.numel(), dtype=torch.float64).index_add(0, ids, flat.double()) / sizes.double().sqrt()


def trained(layer: GPartLayer) -> Tensor:
    """The vector's gradient."""
    gradient = layer.gpart_theta["a"].grad
    assert gradient is not None
    assert gradient.dtype == torch.float32
    return gradient


@every
def test_outputs_are_the_base_s_with_the_weight_rounded_once(
    kind: str, scheme: str, dtype: torch.dtype, autocast: torch.dtype | None
) -> None:
    layer, x = adapted(kind, scheme, dtype), values(kind, whole=False)
    x = x.to(dtype) if x.is_floating_point() else x
    with under(autocast):
        ours = layer(x)
        theirs = torch.func.functional_call(layer.get_base_layer(), effective(layer), (x,))
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs)


@every
def test_gradients_of_whole_numbers_are_exact_but_for_the_scale(
    kind: str, scheme: str, dtype: torch.dtype, autocast: torch.dtype | None
) -> None:
    """Sums of 25 products of at most 4 are whole numbers up to 100, which every type holds."""
    layer, x = adapted(kind, scheme, dtype), values(kind, whole=True)
    with under(autocast):
        out = layer(x.to(dtype) if x.is_floating_point() else x)
    gradient = outward(out, whole=True)
    out.backward(gradient)
    exact = collected(layer, own_gradient(layer, x, gradient))
    torch.testing.assert_close(trained(layer).double(), exact, rtol=SCALED, atol=0)


@every
def test_gradients_are_off_by_one_rounding_of_each_weight_s(
    kind: str, scheme: str, dtype: torch.dtype, autocast: torch.dtype | None
) -> None:
    """The bound: each weight's gradient is a float32 sum, rounded once to the product's type; then float32 alone."""
    layer, x = adapted(kind, scheme, dtype), values(kind, whole=False)
    with under(autocast):
        out = layer(x.to(dtype) if x.is_floating_point() else x)
    gradient = outward(out, whole=False)
    out.backward(gradient)
    x = x.to(dtype).to(out.dtype) if x.is_floating_point() else x
    exact = own_gradient(layer, x, gradient)
    deltas = own_gradient(layer, x.abs(), gradient.abs())
    single, most = UNIT[torch.float32], int(groups(layer)[1].max())
    bound = UNIT[out.dtype] * exact.abs() + LEAST + (25 + most) * single * deltas
    allowed, expected = collected(layer, bound), collected(layer, exact)
    assert bool(((trained(layer) - expected).abs() <= allowed + SCALED * expected.abs()).all())
    assert allowed.max() < expected.abs().max() / 8


# Sums that half precision cannot make: bfloat16 counts to 256, float16 to 2048, and both stay there.

MANY = 4096
ONES: dict[str, tuple[nn.Module, Tensor]] = {
    "linear": (nn.Linear(3, 5), torch.ones(MANY, 3)),
    "conv1d": (Conv1D(5, 3), torch.ones(MANY, 3)),
    "conv2d": (nn.Conv2d(3, 5, 1), torch.ones(1, 3, 64, 64)),
    "embedding": (nn.Embedding(1, 15), torch.zeros(MANY, dtype=torch.long)),
}
EITHER_HALF = pytest.mark.parametrize("dtype", HALF, ids=str)


def counted(dtype: torch.dtype) -> float:
    """What a half-precision sum of as many ones comes to."""
    zero, one = torch.zeros(1, dtype=dtype), torch.ones(MANY, dtype=dtype)
    return float(zero.index_add_(0, torch.zeros(MANY, dtype=torch.int32), one))


@EITHER_HALF
@pytest.mark.parametrize("kind", ONES)
@pytest.mark.parametrize("scheme", ["hash", "block"])
def test_rows_are_summed_in_float32(kind: str, scheme: str, dtype: torch.dtype) -> None:
    base, x = ONES[kind]
    layer = wrapped(copy.deepcopy(base).to(dtype), scheme, d=3, before=0)
    out = layer(x.to(dtype) if x.is_floating_point() else x)
    out.backward(torch.ones_like(out))
    sizes = groups(layer)[1].double()
    torch.testing.assert_close(trained(layer).double(), MANY * sizes.sqrt(), rtol=SCALED, atol=0)
    assert counted(dtype) in (256, 2048)


@EITHER_HALF
@pytest.mark.parametrize("scheme", ["hash", "block"])
@pytest.mark.parametrize("each", [1, 2.0**15])
def test_groups_are_summed_in_float32(scheme: str, dtype: torch.dtype, each: float) -> None:
    """The largest float16 is 65504: a second weight of 2**15 would make the sum infinite."""
    layer = wrapped(nn.Linear(64, 64, bias=False).to(dtype), scheme, d=1, before=0)
    out = layer(torch.ones(1, 64, dtype=dtype))
    out.backward(torch.full_like(out, each))
    assert trained(layer).tolist() == [each * MANY / 64]


# Loss scaling


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["hash", "block"])
@pytest.mark.parametrize("power", [0, 9])
def test_a_scaled_loss_gives_the_same_gradient(kind: str, scheme: str, power: int) -> None:
    """Scaled by up to 2**9, whole numbers up to 100 stay below 65504 and exact."""
    layer, x = adapted(kind, scheme, torch.float16), values(kind, whole=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**power)
    optimizer = torch.optim.SGD([layer.gpart_theta["a"]], lr=1)
    out = layer(x.half() if x.is_floating_point() else x)
    gradient = outward(out, whole=True)
    scaler.scale((out.float() * gradient).sum()).backward()
    scaler.unscale_(optimizer)
    exact = collected(layer, own_gradient(layer, x, gradient))
    torch.testing.assert_close(trained(layer).double(), exact, rtol=SCALED, atol=0)


def test_scaling_saves_what_float16_rounds_to_zero() -> None:
    results = []
    for scale in (1.0, 2.0**20):
        layer = wrapped(nn.Linear(64, 64, bias=False), d=1, before=0)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        with torch.autocast("cpu", dtype=torch.float16):
            out = layer(torch.ones(1, 64))
        scaler.scale((out.float() * 2.0**-30).sum()).backward()
        scaler.unscale_(torch.optim.SGD([layer.gpart_theta["a"]], lr=1))
        results.append(trained(layer).item())
    assert results == [0, 2.0**-30 * MANY / 64]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["hash", "block"])
def test_a_gradient_that_overflows_is_skipped_and_leaves_nothing(kind: str, scheme: str) -> None:
    layer, x = adapted(kind, scheme, torch.float16), values(kind, whole=True)
    theta = layer.gpart_theta["a"]
    before = theta.detach().clone()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
    optimizer = torch.optim.AdamW([theta], lr=0.1, weight_decay=0)
    overflowed = 0
    while torch.equal(theta, before):
        optimizer.zero_grad()
        out = layer(x.half() if x.is_floating_point() else x)
        scaler.scale((out.float() * outward(out, whole=True)).sum()).backward()
        finite = bool(trained(layer).isfinite().all())
        overflowed += not finite
        scaler.step(optimizer)
        scaler.update()
        assert finite != torch.equal(theta, before)
    assert 0 < overflowed < 20
    # The first step of Adam goes by its rate against the sign of every gradient that is not zero.
    moved = (theta.detach() - before).abs()
    torch.testing.assert_close(moved[trained(layer) != 0], torch.full_like(moved, 0.1)[trained(layer) != 0])
    assert scaler.get_scale() == 2.0 ** (20 - overflowed)
