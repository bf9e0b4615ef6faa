"""One adapted layer against the same mathematics written out with a dense P."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from gpart import GPartLayer, Partition
from gpart.compute.deltas import Delta, effective_weight
from gpart.compute.functional import adapted_product
from gpart.compute.slices import LayerSlice
from gpart.partition.groups import IndexedGroups

IN, OUT, D = 5, 7, 6
SIZES = [40, IN * OUT]


def base(kind: str, dtype: torch.dtype = torch.float64, bias: bool = True) -> nn.Module:
    torch.manual_seed(1)
    layer = nn.Linear(IN, OUT, bias=bias) if kind == "linear" else Conv1D(OUT, IN)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer.to(dtype)


def adapted(kind: str, adapters: int = 1, dtype: torch.dtype = torch.float64, **options: Any) -> GPartLayer:
    """A layer that is the second of two, under `adapters` partitions, with vectors that are not zero."""
    thetas = nn.ParameterDict()
    bias = options.pop("bias", True)
    layer = GPartLayer(base(kind, dtype, bias), thetas)
    theta_dtype = dtype if dtype == torch.float64 else torch.float32
    for index in range(adapters):
        name = f"adapter{index}"
        partition = Partition(scheme=["hash", "iid"][index], d=D + index, seed=index, layer_sizes=SIZES)
        thetas[name] = nn.Parameter(torch.randn(D + index, dtype=theta_dtype))
        layer.gpart_slices[name] = LayerSlice(
            partition, 1, options.get("dropout", 0.0), options.get("keep_base", False)
        )
    layer.set_adapter([f"adapter{index}" for index in range(adapters)])
    return layer.eval()


def reference(layer: GPartLayer, x: Tensor, *thetas: Tensor) -> Tensor:
    """x W_eff^T + b by a dense P and plain operations."""
    linear = layer.get_base_layer()
    weight = linear.weight
    for theta, part in zip(thetas, layer.gpart_slices.values(), strict=True):
        p = part.partition
        dense = torch.zeros(p.n, p.d, dtype=x.dtype)
        ids = p.group_ids(0, p.n)
        dense[torch.arange(p.n), ids] = 1 / torch.sqrt(p.group_sizes[ids].to(x.dtype))
        weight = weight + (dense @ theta)[SIZES[0] :].view(weight.shape)
    return x @ (weight if layer.fan_in_fan_out else weight.T) + linear.bias


def through_layer(layer: GPartLayer) -> Callable[..., Tensor]:
    """The layer as a function of its input and its vectors."""

    def function(x: Tensor, *thetas: Tensor) -> Tensor:
        names = list(layer.gpart_slices)
        values = {f"thetas.{name}": theta for name, theta in zip(names, thetas, strict=True)}
        holder = nn.Module()
        holder.layer, holder.thetas = layer, layer.gpart_theta
        holder.forward = layer.forward  # type: ignore[method-assign]
        result: Tensor = torch.func.functional_call(holder, values, (x,))
        return result

    return function


def inputs(layer: GPartLayer) -> tuple[Tensor, ...]:
    torch.manual_seed(2)
    x = torch.randn(3, 4, IN, dtype=layer.weight.dtype)
    return (x, *(theta.detach().clone() for theta in layer.gpart_theta.values()))


CASES = pytest.mark.parametrize(("kind", "adapters"), [("linear", 1), ("linear", 2), ("conv1d", 1), ("conv1d", 2)])


@CASES
def test_forward_is_the_definition(kind: str, adapters: int) -> None:
    layer = adapted(kind, adapters)
    x, *thetas = inputs(layer)
    torch.testing.assert_close(layer(x), reference(layer, x, *thetas), rtol=1e-12, atol=1e-12)
    assert (layer(x) - layer.base_layer(x)).abs().max() > 0.1


@CASES
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_to_every_argument_agree_with_finite_differences(kind: str, adapters: int, masked: bool) -> None:
    layer = adapted(kind, adapters)
    linear = layer.get_base_layer()
    kept = torch.rand(linear.weight.shape) >= 0.3 if masked else None
    groups = [part.partition.layer_groups(1, torch.device("cpu")) for part in layer.gpart_slices.values()]

    def function(x: Tensor, weight: Tensor, bias: Tensor, *values: Tensor) -> Tensor:
        deltas = [Delta(value, one, kept) for value, one in zip(values, groups, strict=True)]
        return adapted_product(x, weight, bias, deltas, product=layer.product, dtype=weight.dtype)

    x, *thetas = inputs(layer)
    arguments = [v.detach().clone().requires_grad_() for v in (x[:1, :2], linear.weight, linear.bias, *thetas)]
    assert torch.autograd.gradcheck(function, arguments, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, arguments, check_fwd_over_rev=True)


@CASES
def test_torch_func_agrees_with_the_definition(kind: str, adapters: int) -> None:
    layer = adapted(kind, adapters)
    ours, theirs = through_layer(layer), lambda x, *t: reference(layer, x, *t)
    x, *thetas = inputs(layer)
    tangents = tuple(torch.randn_like(v) for v in (x, *thetas))
    which = tuple(range(1 + adapters))

    def loss(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *arguments: function(*arguments).sin().square().sum()

    def everything(function: Callable[..., Tensor]) -> list[Any]:
        gradient = torch.func.grad(loss(function), argnums=which)
        return [
            gradient(x, *thetas),
            torch.func.jvp(function, (x, *thetas), tangents)[1],
            torch.func.jvp(gradient, (x, *thetas), tangents)[1],
            torch.func.hessian(loss(function), argnums=which)(x, *thetas),
            torch.func.vmap(function, in_dims=(0, *[None] * adapters))(x, *thetas),
            torch.func.vmap(gradient, in_dims=(0, *[None] * adapters))(x, *thetas),
            torch.func.jacrev(function, argnums=which)(x, *thetas),
            torch.func.jacfwd(function, argnums=which)(x, *thetas),
        ]

    torch.testing.assert_close(everything(ours), everything(theirs), rtol=1e-10, atol=1e-10)


def test_vmap_over_vectors() -> None:
    layer = adapted("linear")
    x, theta = inputs(layer)
    many = torch.stack([theta, 2 * theta, torch.zeros_like(theta)])
    out = torch.func.vmap(through_layer(layer), in_dims=(None, 0))(x, many)
    torch.testing.assert_close(out, torch.stack([reference(layer, x, t) for t in many]), rtol=1e-12, atol=1e-12)


def test_double_backward_gives_the_hessian_vector_product() -> None:
    layer = adapted("linear")
    x, theta = inputs(layer)
    vector = torch.randn_like(theta)

    def product(function: Callable[..., Tensor]) -> Tensor:
        t = theta.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(function(x, t).sin().square().sum(), t, create_graph=True)
        (result,) = torch.autograd.grad(gradient @ vector, t)
        return result

    expected = product(lambda x, t: reference(layer, x, t))
    torch.testing.assert_close(product(through_layer(layer)), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_zero_vector_changes_no_bit(kind: str, dtype: torch.dtype) -> None:
    layer = adapted(kind, dtype=dtype)
    with torch.no_grad():
        layer.gpart_theta["adapter0"].zero_()
    x, _ = inputs(layer)
    assert torch.equal(layer(x), layer.base_layer(x))


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
@pytest.mark.parametrize("adapters", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_merged_and_unmerged_forwards_agree_in_every_bit(kind: str, adapters: int, dtype: torch.dtype) -> None:
    layer = adapted(kind, adapters, dtype=dtype, keep_base=True)
    before = layer.weight.clone()
    x, *_ = inputs(layer)
    unmerged, without = layer(x), layer.base_layer(x)
    layer.merge()
    assert layer.merged_adapters == [f"adapter{i}" for i in range(adapters)]
    assert torch.equal(layer(x), unmerged)
    assert not torch.equal(layer(x), without)
    layer.unmerge()
    assert torch.equal(layer.weight, before)
    assert torch.equal(layer(x), unmerged)


def test_the_sum_is_rounded_once() -> None:
    """The step of bfloat16 above 1 is 2^-7: 1 + 2^-8 + 2^-9 rounds up to it, and to 1 if rounded at each addition."""
    weight = torch.ones(2, 1, dtype=torch.bfloat16)
    ids = torch.zeros(2, dtype=torch.int32)
    groups = IndexedGroups(lambda: ids)
    deltas = [Delta(torch.tensor([2.0**-8]), groups), Delta(torch.tensor([2.0**-9]), groups)]
    assert effective_weight(weight, deltas).flatten().tolist() == [1 + 2.0**-7] * 2
    assert (weight + 2.0**-8).add(2.0**-9).flatten().tolist() == [1.0] * 2


def test_adapters_merged_one_after_the_other_are_summed_as_one_where_the_base_is_kept() -> None:
    layer = adapted("linear", 2, dtype=torch.bfloat16, keep_base=True)
    x, *_ = inputs(layer)
    unmerged = layer(x)
    layer.merge(adapter_names=["adapter0"])
    with pytest.warns(UserWarning, match="additionally merging adapter1"):
        layer.merge()
    assert torch.equal(layer(x), unmerged)


def test_unmerging_without_the_base_says_how_far_off_it_is() -> None:
    layer = adapted("linear", dtype=torch.bfloat16)
    before = layer.weight.clone()
    layer.merge()
    with pytest.warns(UserWarning, match=r"up to (\S+) off .*keep_base=True restores them exactly") as caught:
        layer.unmerge()
    off = float((layer.weight - before).detach().abs().max())
    assert off > 0
    assert f"{off:.0e}" in str(caught[0].message)
    with pytest.warns(UserWarning, match="Already unmerged"):
        layer.unmerge()


def test_unmerging_exactly_does_not_warn() -> None:
    layer = adapted("linear", keep_base=True)
    layer.merge()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer.unmerge()
    assert not layer.merged


def test_safe_merge_refuses_what_is_not_finite() -> None:
    layer = adapted("linear")
    before = layer.weight.clone()
    with torch.no_grad():
        layer.gpart_theta["adapter0"][:] = float("nan")
    with pytest.raises(
        ValueError, match=r"NaNs detected in the merged weights\. The adapter adapter0 seems to be broken"
    ):
        layer.merge(safe_merge=True)
    assert torch.equal(layer.weight, before)
    assert not layer.merged


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_autocast_computes_as_the_merged_layer_does(kind: str) -> None:
    layer = adapted(kind, dtype=torch.float32)
    x, _ = inputs(layer)
    merged = copy.deepcopy(layer)
    merged.merge()
    x.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = layer(x), merged(x)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, theirs)
    (for_x,) = torch.autograd.grad(ours.sum(), x, retain_graph=True)
    assert torch.equal(for_x, torch.autograd.grad(theirs.sum(), x)[0])
    theta = layer.gpart_theta["adapter0"]
    (for_theta,) = torch.autograd.grad(ours.sum(), theta)
    (exact,) = torch.autograd.grad(layer(x).sum(), theta)
    assert for_theta.dtype == torch.float32
    torch.testing.assert_close(for_theta, exact, rtol=0.02, atol=0.02)


def test_types_that_do_not_fit_fail_as_in_a_plain_layer() -> None:
    layer = adapted("linear", dtype=torch.float32)
    x = torch.zeros(2, IN, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="dtype"):
        layer.base_layer(x)
    with pytest.raises(RuntimeError, match="dtype"):
        layer(x)


def test_backward_holds_no_second_weight() -> None:
    linear = nn.Linear(64, 64)
    thetas = nn.ParameterDict({"a": torch.randn(8)})
    layer = GPartLayer(linear, thetas)
    layer.gpart_slices["a"] = LayerSlice(Partition(d=8, layer_sizes=[64 * 64]), 0, 0.0, False)
    layer.set_adapter("a")
    linear.requires_grad_(False)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        layer(torch.randn(2, 64, requires_grad=True)).sum()
    own = [t for t in saved if t.untyped_storage().data_ptr() != linear.weight.untyped_storage().data_ptr()]
    assert max(t.numel() for t in own) <= 2 * 64


def test_gradients_of_the_vector_are_the_same_each_time() -> None:
    layer = adapted("linear", dtype=torch.float32)
    x, _ = inputs(layer)
    theta = layer.gpart_theta["adapter0"]
    first, *others = [torch.autograd.grad(layer(x).square().sum(), theta)[0] for _ in range(5)]
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize(
    "unsupported", [nn.ConvTranspose1d(3, 3, 1), nn.ConvTranspose2d(3, 3, 1), nn.LayerNorm(3), nn.ReLU()]
)
def test_other_modules_are_refused_in_peft_s_words(unsupported: nn.Module) -> None:
    with pytest.raises(TypeError, match=r"Target module .* is not supported. Currently, only the following modules"):
        GPartLayer(unsupported, nn.ParameterDict())  # type: ignore[arg-type]


def test_a_linear_layer_with_a_forward_of_its_own_is_refused() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * F.linear(input, self.weight, self.bias)

    with pytest.raises(TypeError, match="is not supported"):
        GPartLayer(Doubled(3, 3), nn.ParameterDict())


def test_weights_that_are_not_floating_are_refused() -> None:
    quantised = nn.Linear(3, 3, bias=False)
    quantised.weight = nn.Parameter(torch.zeros(3, 3, dtype=torch.int8), requires_grad=False)
    with pytest.raises(TypeError, match=r"its weight is torch\.int8; accepted are torch\.float16"):
        GPartLayer(quantised, nn.ParameterDict())


def test_a_layer_without_bias() -> None:
    layer = adapted("linear", bias=False)
    x, _ = inputs(layer)
    unmerged = layer(x)
    delta = layer.get_delta_weight("adapter0")
    torch.testing.assert_close(unmerged, x @ (layer.weight + delta).T)
    (gradient,) = torch.autograd.grad(unmerged.sum(), layer.gpart_theta["adapter0"])
    assert gradient.abs().max() > 0
