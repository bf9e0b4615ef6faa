"""Every supported kind of layer: the base's own operation with the effective weight, and the contract with PEFT."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification
from transformers.pytorch_utils import Conv1D

from gpart import GPartConfig, GPartLayer, Partition
from gpart.compute.functional import adapted_product
from gpart.compute.products import encoded, product_of
from gpart.compute.slices import LayerSlice
from tests.gpart.small_models import SMALL, logits, randomise, tuner

CPU = torch.device("cpu")
D, BEFORE = 6, 40
IMAGES = torch.randn(2, 4, 7, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
WAVES = torch.randn(2, 4, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
VOLUMES = torch.randn(2, 4, 5, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
IDS = torch.tensor([[1, 2, 1, 0], [4, 2, 1, 8]])
ROWS = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
LAYERS: dict[str, tuple[nn.Module, Tensor]] = {
    "linear": (nn.Linear(5, 7), ROWS),
    "conv1d": (Conv1D(7, 5), ROWS),
    "embedding": (nn.Embedding(9, 3), IDS),
    "embedding-padding": (nn.Embedding(9, 3, padding_idx=2), IDS),
    "embedding-last": (nn.Embedding(9, 3, padding_idx=-1), IDS),
    "embedding-frequency": (nn.Embedding(9, 3, scale_grad_by_freq=True), IDS),
    "conv2d": (nn.Conv2d(4, 6, 3), IMAGES),
    "conv2d-one-image": (nn.Conv2d(4, 6, 3, padding=1), IMAGES[0]),
    "conv2d-patches": (nn.Conv2d(4, 6, (2, 4), stride=(2, 4), bias=False), IMAGES),
    "conv2d-geometry": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(2, 3), groups=2), IMAGES),
    "conv2d-depthwise": (nn.Conv2d(4, 8, 3, groups=4), IMAGES),
    "conv2d-valid": (nn.Conv2d(4, 6, 3, padding="valid"), IMAGES),
    "conv2d-same": (nn.Conv2d(4, 6, 3, padding="same"), IMAGES),
    "conv2d-same-even": (nn.Conv2d(4, 6, (2, 4), padding="same", dilation=(1, 1)), IMAGES),
    "conv2d-reflect": (nn.Conv2d(4, 6, 3, padding=(1, 2), padding_mode="reflect"), IMAGES),
    "conv2d-replicate": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="replicate"), IMAGES),
    "conv2d-circular-same": (nn.Conv2d(4, 6, (2, 3), padding="same", padding_mode="circular"), IMAGES),
    "wave": (nn.Conv1d(4, 6, 3), WAVES),
    "wave-one": (nn.Conv1d(4, 6, 3, padding=1, bias=False), WAVES[0]),
    "wave-geometry": (nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=3, groups=2), WAVES),
    "wave-same-even": (nn.Conv1d(4, 6, 4, padding="same", dilation=1), WAVES),
    "wave-reflect": (nn.Conv1d(4, 6, 3, padding=2, padding_mode="reflect"), WAVES),
    "wave-replicate-same": (nn.Conv1d(4, 6, 4, padding="same", padding_mode="replicate"), WAVES),
    "volume": (nn.Conv3d(4, 6, 2), VOLUMES),
    "volume-one": (nn.Conv3d(4, 6, 3, padding=1, bias=False), VOLUMES[0]),
    "volume-geometry": (
        nn.Conv3d(4, 6, (1, 2, 3), stride=(1, 2, 3), padding=(0, 2, 1), dilation=(3, 1, 2), groups=2),
        VOLUMES,
    ),
    "volume-same-even": (nn.Conv3d(4, 6, (2, 3, 4), padding="same"), VOLUMES),
    "volume-circular": (nn.Conv3d(4, 6, (1, 2, 3), padding=(2, 1, 0), padding_mode="circular"), VOLUMES),
}
EACH = pytest.mark.parametrize("name", LAYERS)


def adapted(name: str, dtype: torch.dtype = torch.float64, **options: Any) -> tuple[GPartLayer, Tensor]:
    """A layer with random weights that is the second of two in its partition, and an input."""
    base, x = LAYERS[name]
    base = copy.deepcopy(base).to(dtype)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    thetas = nn.ParameterDict({"a": torch.randn(D, generator=generator, dtype=torch.float64).to(dtype)})
    layer = GPartLayer(base, thetas)  # type: ignore[arg-type]
    partition = Partition(d=D, seed=1, layer_sizes=[BEFORE, base.weight.numel()])
    layer.gpart_slices["a"] = LayerSlice(partition, 1, options.get("dropout", 0.0), options.get("keep_base", False))
    layer.set_adapter("a")
    return layer.eval(), x.to(dtype) if x.is_floating_point() else x


def reference(layer: GPartLayer, x: Tensor, theta: Tensor, **parameters: Tensor) -> Tensor:
    """The base layer's own forward with its weight plus the layer's part of P theta."""
    partition, base = layer.gpart_slices["a"].partition, layer.get_base_layer()
    weight = parameters.pop("weight", base.weight)
    change = partition.project(theta)[BEFORE:].view(weight.shape)
    result: Tensor = torch.func.functional_call(base, {"weight": weight + change, **parameters}, (x,))
    return result


@EACH
def test_forward_is_the_base_s_with_the_effective_weight(name: str) -> None:
    layer, x = adapted(name)
    assert torch.equal(layer(x), reference(layer, x, layer.gpart_theta["a"]))
    assert (layer(x) - layer.base_layer(x)).abs().max() > 0.1


@EACH
def test_gradients_are_the_base_s_with_the_effective_weight(name: str) -> None:
    layer, x = adapted(name)
    base, theta = layer.get_base_layer(), layer.gpart_theta["a"]
    arguments = [theta, *base.parameters()]
    if x.is_floating_point():
        x = x.clone().requires_grad_()
        arguments.append(x)
    seed = torch.randn(layer(x).shape, dtype=x.dtype if x.is_floating_point() else torch.float64)
    ours = torch.autograd.grad((layer(x) * seed).sum(), arguments)
    theirs = torch.autograd.grad((reference(layer, x, theta) * seed).sum(), arguments)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert all(gradient.abs().max() > 0 for gradient in ours)


@pytest.mark.parametrize(
    "name",
    ["embedding-padding", "conv2d-geometry", "conv2d-one-image", "conv2d-same-even", "wave-geometry", "volume-one"],
)
def test_derivatives_of_every_mode_and_order_agree(name: str) -> None:
    layer, x = adapted(name)
    holder = nn.Module()
    holder.layer, holder.thetas = layer, layer.gpart_theta
    holder.forward = layer.forward  # type: ignore[method-assign]

    def ours(theta: Tensor) -> Tensor:
        result: Tensor = torch.func.functional_call(holder, {"thetas.a": theta}, (x,)).sin().square().sum()
        return result

    def theirs(theta: Tensor) -> Tensor:
        return reference(layer, x, theta).sin().square().sum()

    theta, tangent = layer.gpart_theta["a"].detach(), torch.linspace(-1, 1, D, dtype=torch.float64)
    if name != "embedding-padding":  # torch itself leaves the padding row out of backward, and not out of forward mode
        for derivative in (torch.func.jacfwd, torch.func.hessian):
            torch.testing.assert_close(derivative(ours)(theta), derivative(theirs)(theta), rtol=1e-10, atol=1e-10)
    many = torch.stack([theta, tangent])
    for function in (torch.func.vmap(torch.func.grad(ours)), torch.func.vmap(ours)):
        other = torch.stack([(torch.func.grad(theirs) if function(many).dim() > 1 else theirs)(t) for t in many])
        torch.testing.assert_close(function(many), other, rtol=1e-10, atol=1e-10)
    twice = [torch.autograd.functional.hvp(function, theta, tangent)[1] for function in (ours, theirs)]
    torch.testing.assert_close(*twice, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "wrt"), [("conv2d-geometry", ("x", "weight", "bias")), ("embedding", ("weight",))])
def test_second_derivatives_of_every_argument_agree_with_finite_differences(name: str, wrt: tuple[str, ...]) -> None:
    layer, x = adapted(name)
    base = layer.get_base_layer()
    product = product_of(base)[1]
    values = {"x": x, **{key: value.detach() for key, value in base.named_parameters()}}

    def function(*arguments: Tensor) -> Tensor:
        given = {**values, **dict(zip(wrt, arguments, strict=True))}
        delta = layer.gpart_slices["a"].delta(layer.gpart_theta["a"], given["weight"])
        return adapted_product(
            given["x"], given["weight"], given.get("bias"), [delta], product=product, dtype=torch.float64
        )

    arguments = [values[key].detach().clone().requires_grad_() for key in wrt]
    if "x" in wrt:
        values["x"] = x[:1]
        arguments[0] = x[:1, :, :5, :6].clone().requires_grad_()
    assert torch.autograd.gradcheck(function, arguments, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, arguments)


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merged_and_unmerged_forwards_agree_in_every_bit(name: str, dtype: torch.dtype) -> None:
    layer, x = adapted(name, dtype, keep_base=True)
    unmerged, before = layer(x), layer.weight.clone()
    layer.merge()
    assert torch.equal(layer(x), unmerged)
    layer.unmerge()
    assert torch.equal(layer.weight, before)


@EACH
def test_autocast_computes_as_the_merged_layer_does(name: str) -> None:
    layer, x = adapted(name, torch.float32)
    merged = copy.deepcopy(layer)
    merged.merge()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = layer(x), merged(x)
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs)
    (gradient,) = torch.autograd.grad(ours.float().sum(), layer.gpart_theta["a"])
    (exact,) = torch.autograd.grad(layer(x).sum(), layer.gpart_theta["a"])
    torch.testing.assert_close(gradient, exact, rtol=0.03, atol=0.03 * float(exact.abs().max()))


@pytest.mark.parametrize(
    "name", ["linear", "conv1d", "embedding-padding", "conv2d-geometry", "wave-geometry", "volume-geometry"]
)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_operator_of_compiled_graphs_keeps_torch_s_rules(name: str, dropout: float) -> None:
    layer, x = adapted(name, dropout=dropout)
    part, base = layer.gpart_slices["a"], layer.get_base_layer()
    mask_seed = [part.mask_seed(base.weight)] if dropout else []
    inputs = (x, base.weight, getattr(base, "bias", None), [layer.gpart_theta["a"]], mask_seed, [part.number])
    product = (encoded(layer.product), torch.float64)
    torch.library.opcheck(torch.ops.gpart.adapted.default, (*inputs, *product))


@pytest.mark.parametrize("base", [nn.Embedding(50, 60), nn.Conv2d(10, 20, 5)])
def test_backward_holds_no_second_weight(base: Any) -> None:
    thetas = nn.ParameterDict({"a": torch.randn(8)})
    layer = GPartLayer(base.requires_grad_(False), thetas)
    layer.gpart_slices["a"] = LayerSlice(Partition(d=8, layer_sizes=[base.weight.numel()]), 0, 0.0, False)
    layer.set_adapter("a")
    x = torch.tensor([1, 2]) if isinstance(base, nn.Embedding) else torch.randn(1, 10, 5, 5, requires_grad=True)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        layer(x).sum().backward()
    own = [t for t in saved if t.untyped_storage().data_ptr() != base.weight.untyped_storage().data_ptr()]
    assert own
    assert max(t.numel() for t in own) <= max(x.numel(), 8)


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        (nn.Embedding(3, 4, sparse=True), "sparse: True; accepted is False"),
        (nn.Embedding(3, 4, max_norm=1.0), "max_norm: 1.0, which changes the weight; accepted is None"),
        (
            nn.EmbeddingBag(3, 4),
            "`torch.nn.Conv2d`, `torch.nn.Conv3d`, `transformers.pytorch_utils.Conv1D`",
        ),
    ],
)
def test_what_is_not_supported_is_refused(base: nn.Module, reason: str) -> None:
    with pytest.raises(TypeError, match=rf"Target module .* is not supported.*{reason}"):
        GPartLayer(base, nn.ParameterDict())  # type: ignore[arg-type]


# In a model of all kinds


class Every(nn.Module):
    """One layer of each kind, in the order of their canonical flattening."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(11, 6, padding_idx=2)
        self.dense = nn.Linear(6, 6)
        self.mixed = Conv1D(8, 6)
        self.patch = nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular")
        self.wave = nn.Conv1d(4, 4, 3, padding=1)
        self.volume = nn.Conv3d(4, 2, (1, 2, 2))

    def forward(self, input_ids: Tensor) -> Tensor:
        hidden = self.mixed(self.dense(self.words(input_ids)).tanh()).tanh()
        image = self.patch(hidden.view(hidden.shape[0], 2, -1, 4))
        result: Tensor = self.volume(self.wave(image.flatten(2)).tanh().view_as(image).unsqueeze(2))
        return result


KINDS = ["words", "dense", "mixed", "patch", "wave", "volume"]
SIZES = [66, 36, 48, 72, 48, 32]


def config(**changes: Any) -> GPartConfig:
    return GPartConfig(**{"d": 24, "target_modules": list(KINDS), **changes})


def model(**changes: Any) -> PeftModel:
    made = get_peft_model(Every(), config(**changes)).eval()
    randomise(made)
    return made


@torch.no_grad()
def output(of: nn.Module) -> Tensor:
    result: Tensor = of(IDS)
    return result


@pytest.mark.parametrize("scheme", ["hash", "balanced", "block"])
def test_p_is_an_isometry_over_all_kinds(scheme: str) -> None:
    adapter = model(scheme=scheme, d=20)
    partition = tuner(adapter).partition()
    assert partition.sizes == SIZES
    assert str(partition.layers[3]) == "patch 4x2x3x3"
    dense = torch.stack([partition.project(unit) for unit in torch.eye(20, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(dense.T @ dense, torch.eye(20, dtype=torch.float64), rtol=0, atol=1e-12)
    layers = [m for m in adapter.modules() if isinstance(m, GPartLayer)]
    changes = [layer.get_delta_weight("default") for layer in layers]
    assert [change.shape for change in changes] == [layer.weight.shape for layer in layers]
    flat = torch.cat([change.reshape(-1) for change in changes])
    torch.testing.assert_close(flat, (dense.float() @ tuner(adapter).gpart_theta["default"]).detach())


@pytest.mark.parametrize("safe_merge", [False, True])
def test_merging_unmerging_disabling_and_several_adapters(safe_merge: bool) -> None:
    adapter = model(keep_base=True)
    adapter.add_adapter("other", config(d=11, seed=9, scheme="balanced", keep_base=True))
    randomise(adapter, "other", seed=8)
    alone, plain = output(adapter), output(Every())
    tuner(adapter).set_adapter(["default", "other"])
    both = output(adapter)
    assert not torch.equal(alone, both)
    with adapter.disable_adapter():
        assert torch.equal(output(adapter), plain)
    adapter.merge_adapter(safe_merge=safe_merge)
    assert torch.equal(output(adapter), both)
    adapter.unmerge_adapter()
    tuner(adapter).set_adapter("default")
    assert torch.equal(output(adapter), alone)
    assert torch.equal(output(copy.deepcopy(adapter).unload()), plain)
    merged = adapter.merge_and_unload(safe_merge=safe_merge)
    assert [type(getattr(merged, kind)) for kind in KINDS] == [type(getattr(Every(), kind)) for kind in KINDS]
    assert torch.equal(output(merged), alone)


def test_saving_and_loading(tmp_path: Path) -> None:
    adapter = model(scheme="block")
    adapter.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(Every(), str(tmp_path)).eval()
    assert torch.equal(output(loaded), output(adapter))
    assert not torch.equal(output(loaded), output(Every()))


def test_training_with_dropout_reaches_every_coordinate() -> None:
    adapter = model(dropout=0.1).train()
    adapter(IDS).square().sum().backward()
    theta = tuner(adapter).gpart_theta["default"]
    assert theta.grad is not None
    assert theta.grad.abs().min() > 0


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_all_kinds_compile_to_one_graph(training: bool) -> None:
    torch._dynamo.reset()
    adapter = model(dropout=0.1).train(training)
    theta = tuner(adapter).gpart_theta["default"]
    results = []
    for forward in (adapter, torch.compile(adapter, fullgraph=True, backend="aot_eager")):
        torch.manual_seed(4)
        out = forward(IDS)
        results.append((out.detach(), torch.autograd.grad(out.square().sum(), theta)[0]))
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-6)


def test_a_language_model_with_adapted_embeddings_is_saved_and_loaded(tmp_path: Path) -> None:
    llama = SMALL["llama"]
    adapter = llama.adapted_model(target_modules=["embed_tokens", "q_proj"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*save_embedding_layers")
        adapter.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(llama.new(), str(tmp_path)).eval()
    assert torch.equal(logits(loaded), logits(adapter))
    assert not torch.equal(logits(loaded), logits(llama.new()))


@torch.no_grad()
def test_patches_and_embeddings_of_transformers_merge_to_the_same_bits() -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vit = ViTForImageClassification(ViTConfig(**sizes, image_size=8, patch_size=4)).eval()
    options = {"d": 24, "keep_base": True}
    images = torch.randn(2, 3, 8, 8)
    adapter = get_peft_model(vit, GPartConfig(target_modules=["projection", "query"], **options)).eval()
    plain = adapter(images).logits
    randomise(adapter)
    changed = adapter(images).logits
    assert tuner(adapter).partition().layers[0].shape == (16, 3, 4, 4)
    assert not torch.equal(changed, plain)
    adapter.merge_adapter()
    assert torch.equal(adapter(images).logits, changed)
    roberta = SMALL["roberta"].adapted_model(
        target_modules=["word_embeddings", "position_embeddings", "query"], keep_base=True
    )
    assert tuner(roberta).partition().layers[0].shape == (60, 16)
    changed = logits(roberta)
    roberta.merge_adapter()
    assert torch.equal(logits(roberta), changed)
