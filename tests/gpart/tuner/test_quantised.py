"""A layer whose weight is quantised: y = base(x) + x (P theta)^T, and what cannot be had of it is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpart.compute.dropout import mask
from gpart.tuner.base_layers import check_supported, is_quantised
from tests.gpart.tuner.quantised_layers import (
    BEFORE,
    EACH,
    IN,
    KINDS,
    KINDS_OF,
    LIBRARIES,
    OUT,
    REASON,
    D,
    Int8Linear,
    adapted,
    assert_same,
    bnb_4bit,
    change,
    dense,
    kinds,
    rows,
    shown,
    stored,
    torchao,
)


@pytest.mark.parametrize("library", LIBRARIES)
def test_there_are_layers_of_the_library(library: str) -> None:
    pytest.importorskip(library, reason=REASON)
    assert KINDS_OF[library]
    assert all(is_quantised(KINDS[kind](dense())) for kind in KINDS_OF[library])


@EACH
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_forward_is_the_base_s_plus_the_product_with_the_change(kind: str, bias: bool, training: bool) -> None:
    layer, x = adapted(KINDS[kind](dense(bias))).train(training), rows()
    plain = layer.base_layer(x)
    torch.testing.assert_close(layer(x), plain + x @ change(layer).T, rtol=1e-5, atol=1e-5)
    assert (layer(x) - plain).abs().max() > 0.1
    assert (layer.in_features, layer.out_features) == (IN, OUT)


@EACH
def test_the_layer_computes_with_the_quantised_weight_and_not_with_another(kind: str) -> None:
    linear = dense()
    layer, x = adapted(KINDS[kind](linear)), rows()
    error = (layer.base_layer(x) - linear(x)).abs().max()
    assert 1e-4 < error < 0.5
    unit = torch.eye(IN)
    exact = (layer.base_layer(unit) - layer.base_layer(torch.zeros_like(unit))).T
    torch.testing.assert_close(layer(x), F.linear(x, exact + change(layer), linear.bias), rtol=1e-4, atol=1e-4)


@EACH
def test_gradients_flow_to_the_input_through_both_products_and_to_the_vector(kind: str) -> None:
    layer, x = adapted(KINDS[kind](dense())), rows().requires_grad_()
    theta, seed = layer.gpart_theta["a"], torch.randn(2, 3, OUT)
    ours = torch.autograd.grad((layer(x) * seed).sum(), [x, theta])
    theirs = torch.autograd.grad(((layer.base_layer(x) + x @ change(layer).T) * seed).sum(), [x, theta])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    (through_base,) = torch.autograd.grad((layer.base_layer(x) * seed).sum(), x)
    torch.testing.assert_close(ours[0] - through_base, seed @ change(layer).detach(), rtol=1e-4, atol=1e-4)
    flat = seed.reshape(-1, OUT).T @ x.detach().reshape(-1, IN)
    whole = torch.cat([torch.zeros(BEFORE), flat.reshape(-1)])
    torch.testing.assert_close(ours[1], layer.gpart_slices["a"].partition.adjoint(whole), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("before", [False, True], ids=["after-wrapping", "before-wrapping"])
def test_an_evaluation_takes_no_gradient_from_training(before: bool) -> None:
    modules = pytest.importorskip("bitsandbytes.nn.modules", reason=REASON)
    if not modules.has_avx512bf16():
        pytest.skip("bitsandbytes repacks four-bit weights only on processors with bfloat16 products")
    base, x = bnb_4bit(dense(), quant_type="nf4").requires_grad_(False), rows()
    base.support_avx512bf16_for_cpu = True  # type: ignore[assignment]
    if before:
        with torch.no_grad():
            base.eval()(x)
    layer = adapted(base)
    with torch.no_grad():
        layer.eval()(x)
    x = x.requires_grad_()
    (gradient,) = torch.autograd.grad(layer.train()(x).sum(), x)
    exact = adapted(bnb_4bit(dense(), quant_type="nf4"))
    (expected,) = torch.autograd.grad(exact(x).sum(), x)
    # Packed scales are bfloat16.
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0.01 * float(expected.abs().max()))


@pytest.mark.parametrize("scheme", ["hash", "balanced", "block"])
def test_derivatives_agree_with_finite_differences(scheme: str) -> None:
    layer = adapted(Int8Linear(dense(rows=3, columns=4)), scheme=scheme, dtype=torch.float64)
    x, theta = rows(torch.float64, 4).requires_grad_(), layer.gpart_theta["a"].detach().requires_grad_()
    holder = nn.Module()
    holder.layer, holder.thetas = layer, layer.gpart_theta
    holder.forward = layer.forward  # type: ignore[method-assign]

    def function(x: Tensor, theta: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(holder, {"thetas.a": theta}, (x,))
        return result

    assert torch.autograd.gradcheck(function, (x, theta), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, (x, theta))
    hessian = torch.func.hessian(lambda value: function(x.detach(), value).sin().sum())(theta.detach())
    expected = torch.func.hessian(
        lambda value: (layer.base_layer(x.detach()) + x.detach() @ change(layer, theta=value).T).sin().sum()
    )(theta.detach())
    torch.testing.assert_close(hessian, expected, rtol=1e-9, atol=1e-9)


@kinds("codes", "bnb-int8", "bnb-nf4")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_inputs_give_what_the_base_gives(kind: str, dtype: torch.dtype) -> None:
    layer, x = adapted(KINDS[kind](dense())), rows(dtype).requires_grad_()
    theta = layer.gpart_theta["a"]
    out = layer(x)
    assert out.dtype == layer.base_layer(x).dtype == dtype
    exact = layer.base_layer(x.float()) + x.float() @ change(layer).T
    tolerance = 4 * torch.finfo(dtype).eps * float(exact.detach().abs().max())
    torch.testing.assert_close(out.float(), exact, rtol=0, atol=tolerance)
    for_x, for_theta = torch.autograd.grad(out.float().sum(), [x, theta])
    assert (for_x.dtype, for_theta.dtype) == (dtype, torch.float32)
    (expected,) = torch.autograd.grad(exact.sum(), theta)
    torch.testing.assert_close(for_theta, expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))


class Bfloat16Linear(Int8Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.bfloat16())


def test_a_base_that_computes_in_a_type_of_its_own_gives_the_type_of_the_output() -> None:
    layer, x = adapted(Bfloat16Linear(dense())), rows().requires_grad_()
    out, exact = layer(x), layer.base_layer(x).float() + x @ change(layer).T
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), exact, rtol=0.01, atol=0.01 * float(exact.detach().abs().max()))
    arguments = [x, layer.gpart_theta["a"]]
    ours, theirs = (torch.autograd.grad(y.float().square().sum(), arguments) for y in (out, exact))
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine, other, rtol=0, atol=0.03 * float(other.abs().max()))


@kinds("codes", "bnb-int8", "bnb-nf4", "torchao-int8")
def test_autocast_leaves_the_base_s_type_of_output(kind: str) -> None:
    layer, x = adapted(KINDS[kind](dense())), rows()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, plain = layer(x), layer.base_layer(x)
    assert ours.dtype == plain.dtype
    exact = layer.base_layer(x) + x @ change(layer).T
    torch.testing.assert_close(ours.float(), exact, rtol=0, atol=0.03 * float(exact.detach().abs().max()))
    (gradient,) = torch.autograd.grad(ours.float().sum(), layer.gpart_theta["a"])
    (expected,) = torch.autograd.grad(exact.sum(), layer.gpart_theta["a"])
    torch.testing.assert_close(gradient, expected, rtol=0.03, atol=0.03 * float(expected.abs().max()))


@EACH
def test_several_adapters_add_up_and_disabling_leaves_the_base(kind: str) -> None:
    layer, x = adapted(KINDS[kind](dense()), names="ab"), rows()
    plain = layer.base_layer(x)
    torch.testing.assert_close(layer(x), plain + x @ (change(layer, "a") + change(layer, "b")).T, rtol=1e-5, atol=1e-5)
    layer.set_adapter("b")
    torch.testing.assert_close(layer(x), plain + x @ change(layer, "b").T, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.get_delta_weight("a"), change(layer, "a"))
    layer.enable_adapters(False)
    assert torch.equal(layer(x), plain)


def test_dropout_drops_entries_of_the_change_alone() -> None:
    layer, x = adapted(Int8Linear(dense()), dropout=0.4), rows()
    torch.manual_seed(8)
    out = layer(x)
    torch.manual_seed(8)
    mask_seed = layer.gpart_slices["a"].mask_seed(torch.empty(OUT, IN))
    kept = mask(mask_seed, 0.4, torch.empty(OUT, IN))
    assert 0 < kept.sum() < kept.numel()
    expected = layer.base_layer(x) + x @ (change(layer) * kept / 0.6).T
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    ours, theirs = (torch.autograd.grad(y.square().sum(), layer.gpart_theta["a"])[0] for y in (out, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@kinds("codes", "bnb-nf4")
def test_backward_holds_no_weight_beside_what_the_base_holds(kind: str) -> None:
    layer = adapted(KINDS[kind](dense(rows=256, columns=128)))
    x = rows(columns=128).requires_grad_()

    def held(forward: Callable[[Tensor], Tensor]) -> int:
        saved: dict[int, int] = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: saved.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t, lambda t: t
        ):
            forward(x)
        return sum(saved.values())

    assert held(layer) <= held(layer.base_layer) + x.nbytes + 16 * D
    assert held(layer) > held(layer.base_layer)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_layer_compiles_to_one_graph(training: bool) -> None:
    torch._dynamo.reset()
    layer, x = adapted(Int8Linear(dense()), dropout=0.1).train(training), rows().requires_grad_()
    results = []
    for forward in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager")):
        torch.manual_seed(4)
        out = forward(x)
        results.append((out.detach(), *torch.autograd.grad(out.square().sum(), [x, layer.gpart_theta["a"]])))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


class Noisy(nn.Module):
    """No weight, nothing quantised: what is added to it is the change of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.in_features = self.out_features = 3
        self.mean, self.deviation = nn.Parameter(torch.ones(3, 3)), nn.Parameter(torch.ones(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.mean + torch.randn(3, 3) * self.deviation)


class Masked(nn.Linear):
    """A floating weight, beside which whole numbers are held."""

    def __init__(self) -> None:
        super().__init__(3, 3)
        self.register_buffer("kept", torch.ones(3, 3, dtype=torch.int8))

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight * self.kept, self.bias)


def dynamic() -> nn.Module:
    """Torch's own, which hides its weight from modules and passes no gradient to the input."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        holder = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 3)), {nn.Linear})
    made: nn.Module = holder[0]
    return made


def codes_without_forward() -> nn.Module:
    broken = nn.Linear(3, 3)
    broken.weight = nn.Parameter(torch.zeros(3, 3, dtype=torch.int8), requires_grad=False)
    return broken


def nameless() -> nn.Module:
    module = Int8Linear(nn.Linear(3, 3))
    module.in_features = None  # type: ignore[assignment]
    return module


@pytest.mark.parametrize("make", [Noisy, Masked, dynamic, codes_without_forward, nameless])
def test_what_is_not_a_quantised_dense_layer_is_refused(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(TypeError, match="is not supported"):
        check_supported(make())


class NoGradient(Int8Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


@pytest.mark.parametrize("kind", ["codes", "torchao"])
def test_training_through_a_layer_that_passes_no_gradient_is_refused(kind: str) -> None:
    linear = dense()
    base = NoGradient(linear) if kind == "codes" else torchao(linear, "Int8DynamicActivationInt8WeightConfig")
    layer, x = adapted(base), rows()
    with pytest.raises(TypeError, match=rf"(?s){shown(base)}.*no gradient"):
        layer(x.clone().requires_grad_())
    with torch.no_grad():
        assert not torch.equal(layer(x), base(x))
    assert layer(x).requires_grad, "the first layer of a model has an input that needs none"


@EACH
@pytest.mark.parametrize("keep_base", [False, True])
def test_merging_a_layer_is_refused_and_changes_nothing(kind: str, keep_base: bool) -> None:
    base = KINDS[kind](dense())
    layer, x = adapted(base, keep_base=keep_base), rows()
    before, out = stored(base), layer(x)
    with pytest.raises(ValueError, match=rf"merge: .*{shown(base)}"):
        layer.merge()
    assert not layer.merged
    assert_same(before, stored(base))
    assert torch.equal(layer(x), out)
