"""Biases in the partition: one more tensor of each layer, moved by the same vector, and never trained themselves."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from gpart import GPartConfig
from tests.gpart.small_models import SMALL, logits, randomise, tuner

SCHEMES = pytest.mark.parametrize("scheme", ["hash", "block", "balanced", "iid", "signed_magnitude"])
LAYERS: list[tuple[str, int, int]] = [("0", 24, 8), ("1", 72, 9), ("2", 54, 0), ("4", 60, 0), ("5", 144, 4)]
"""Name, weights and biases of the layers of `Layers`, in order."""


class Layers(nn.Module):
    """Every kind of layer, with a bias and without."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        kinds = [nn.Linear(3, 8), Conv1D(9, 8), nn.Linear(9, 6, bias=False), nn.Tanh(), nn.Embedding(10, 6)]
        for number, layer in enumerate([*kinds, nn.Conv2d(4, 4, 3, padding=1)]):
            self.add_module(str(number), layer)
        self.double()
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        """x (4, 3), ids (4,) to (4, 6)."""
        hidden = x
        for number in "0123":
            hidden = getattr(self, number)(hidden)
        image = (hidden + getattr(self, "4")(ids)).view(4, 1, 6).expand(4, 4, 6).unsqueeze(0)
        output: Tensor = getattr(self, "5")(image.transpose(1, 2)).sum(1).squeeze(0)
        return output


X = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
IDS = torch.tensor([3, 1, 3, 9])
NAMES = [name for name, _, _ in LAYERS]
N = sum(weights + biases for _, weights, biases in LAYERS)


def adapted(**changes: Any) -> PeftModel:
    config = GPartConfig(**{"d": 40, "target_modules": NAMES, "bias": "all", **changes})
    model = get_peft_model(Layers(), config, autocast_adapter_dtype=False).eval()
    randomise(model)
    return model


def moved(model: PeftModel, adapters: tuple[str, ...] = ("default",)) -> Layers:
    """The model without adapters, its weights and biases moved by hand, by the vectors' projections."""
    expected = Layers()
    for adapter in adapters:
        delta, start = tuner(model).partition(adapter).project(tuner(model).gpart_theta[adapter].detach()), 0
        for name in NAMES:
            for tensor in getattr(expected, name).parameters():
                tensor.data += delta[start : start + tensor.numel()].view(tensor.shape)
                start += tensor.numel()
        assert start == len(delta) == N
    return expected


@SCHEMES
def test_a_bias_comes_behind_its_weight(scheme: str) -> None:
    model = adapted(scheme=scheme)
    partition = tuner(model).partition()
    assert partition.sizes == [size for _, weights, biases in LAYERS for size in (weights, biases) if size]
    assert partition.n == N
    assert [layer.bias for layer in partition.layers] == [biases for _, _, biases in LAYERS]
    torch.testing.assert_close(model(X, IDS), moved(model)(X, IDS), rtol=1e-12, atol=1e-12)
    weights = adapted(scheme=scheme, bias="none")
    assert tuner(weights).partition().n == sum(weights for _, weights, _ in LAYERS)


@pytest.mark.parametrize("isometric", [True, False])
def test_weights_and_biases_together_are_as_far_apart_as_the_vectors(isometric: bool) -> None:
    model = adapted(scheme="balanced", isometric=isometric)
    layers = [module for module in model.modules() if hasattr(module, "get_delta_bias")]
    changes = [layer.get_delta_weight("default") for layer in layers]
    biases = [bias for layer in layers if (bias := layer.get_delta_bias("default")) is not None]
    assert len(biases) == 3
    length = sum(float(change.detach().square().sum()) for change in [*changes, *biases]) ** 0.5
    theta = tuner(model).gpart_theta["default"].detach()
    assert (abs(length - float(theta.norm())) < 1e-12) is isometric


@pytest.mark.parametrize("scheme", ["hash", "block"])
def test_derivatives_of_the_vector(scheme: str) -> None:
    model = adapted(scheme=scheme, d=12)
    theta = tuner(model).gpart_theta["default"]

    def output(vector: Tensor) -> Tensor:
        return torch.func.functional_call(model, {"base_model.gpart_theta.default": vector}, (X, IDS))

    start = theta.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(output, (start,), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(output, (start,))


def test_biases_are_not_trained_and_disabling_gives_the_base_again() -> None:
    model, base = adapted(modules_to_save=["3"]), Layers()
    model.add_adapter("other", GPartConfig(d=30, target_modules=NAMES, bias="gpart_only"))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained == ["base_model.gpart_theta.default"]
    model(X, IDS).sum().backward()
    assert all(parameter.grad is None for parameter in tuner(model).model.parameters())
    with model.disable_adapter():
        assert torch.equal(model(X, IDS), base(X, IDS))


def test_modules_to_save_keep_training_their_biases() -> None:
    small = SMALL["bert"]
    model = get_peft_model(small.new(), small.config(bias="all"))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {
        "base_model.gpart_theta.default",
        "base_model.model.classifier.modules_to_save.default.weight",
        "base_model.model.classifier.modules_to_save.default.bias",
    }


def test_several_adapters_with_and_without_biases() -> None:
    model = adapted()
    model.add_adapter("other", GPartConfig(d=30, target_modules=NAMES, bias="all", scheme="block"))
    model.add_adapter("weights", GPartConfig(d=30, target_modules=NAMES))
    randomise(model, "other", seed=8)
    tuner(model).gpart_theta["other"].data = tuner(model).gpart_theta["other"].data.double()
    tuner(model).set_adapter(["default", "other", "weights"])
    torch.testing.assert_close(model(X, IDS), moved(model, ("default", "other"))(X, IDS), rtol=1e-12, atol=1e-12)
    model.delete_adapter("other")
    torch.testing.assert_close(model(X, IDS), moved(model)(X, IDS), rtol=1e-12, atol=1e-12)
    assert all(set(m.gpart_bias_slices) <= {"default"} for m in model.modules() if hasattr(m, "gpart_bias_slices"))


@pytest.mark.parametrize("keep_base", [True, False])
def test_merging_and_unmerging(keep_base: bool) -> None:
    model, base = adapted(keep_base=keep_base), Layers()
    model.add_adapter("weights", GPartConfig(d=30, target_modules=NAMES, keep_base=keep_base))
    before = model(X, IDS)
    model.merge_adapter(["weights"])
    model.merge_adapter(["default"])
    torch.testing.assert_close(model(X, IDS), before, rtol=1e-12, atol=1e-12)
    merged, expected = copy.deepcopy(model).merge_and_unload().state_dict(), moved(model).state_dict()
    assert all(torch.allclose(merged[name], expected[name], rtol=1e-12, atol=1e-12) for name in expected)
    model.unmerge_adapter()
    tolerance = 0 if keep_base else 1e-14
    for name, tensor in base.state_dict().items():
        module, _, kind = name.rpartition(".")
        layer = getattr(tuner(model).model, module).base_layer
        torch.testing.assert_close(getattr(layer, kind).data, tensor, rtol=0, atol=tolerance)


def test_a_safe_merge_looks_at_biases_too() -> None:
    model = adapted(scheme="balanced", d=N)
    layer = tuner(model).model.get_submodule("0")
    before = copy.deepcopy(layer.base_layer.state_dict())
    with torch.no_grad():
        ids = tuner(model).partition().group_ids(24, 32)  # the first bias, one coordinate for each of its entries
        tuner(model).gpart_theta["default"][ids[3]] = torch.inf
    with pytest.raises(ValueError, match="NaNs detected in the merged weights"):
        layer.merge(safe_merge=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in layer.base_layer.state_dict().items())


def test_dropout_falls_on_weights_alone() -> None:
    model = adapted(scheme="balanced", d=N, dropout=0.5).train()
    with torch.no_grad():
        partition, theta = tuner(model).partition(), tuner(model).gpart_theta["default"]
        theta.zero_()
        for index in (1, 3, 7):
            theta[partition.layer_ids(index, torch.device("cpu")).long()] = 2.0
    torch.testing.assert_close(model(X, IDS), moved(model)(X, IDS), rtol=1e-12, atol=1e-12)


def test_a_checkpoint_says_whether_biases_take_part(tmp_path: Path) -> None:
    small = SMALL["bert"]
    model = small.adapted_model(bias="all")
    model.save_pretrained(str(tmp_path))
    assert torch.equal(logits(PeftModel.from_pretrained(small.new(), str(tmp_path))), logits(model))
    config = GPartConfig.from_pretrained(str(tmp_path))
    config.bias = "none"
    with pytest.raises(ValueError, match=r"N is 1088 in the checkpoint and 1024 here.*16x16\+16"):
        PeftModel.from_pretrained(small.new(), str(tmp_path), config=config)


def test_half_precision_rounds_the_bias_once() -> None:
    base = nn.Sequential(nn.Linear(4, 6)).bfloat16()
    model = get_peft_model(base, GPartConfig(d=20, target_modules=["0"], bias="all"))
    randomise(model)
    layer: Any = tuner(model).model.get_submodule("0")
    x = torch.zeros(1, 4, dtype=torch.bfloat16)
    expected = (layer.base_layer.bias.float() + layer.get_delta_bias("default")).bfloat16()
    assert torch.equal(model(x)[0], expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(x)[0], expected)
