"""Modules whose weights torch reads without calling them: adapting these would have no effect."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn

from gpart import GPartConfig
from tests.gpart.conformance.models import bits, layers, same_bits
from tests.gpart.small_models import randomise, tuner

X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))
PADDED = torch.arange(5) >= torch.tensor([[3], [5]])


class Encoder(nn.Module):
    """Two of torch's encoder layers, with a dense layer before them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(8, 8)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 2)

    def forward(self, x: Tensor, padded: Tensor | None = None) -> Tensor:
        result: Tensor = self.encoder(self.first(x), src_key_padding_mask=padded)
        return result


def adapted(targets: Any) -> Any:
    model = get_peft_model(Encoder().eval(), GPartConfig(d=7, target_modules=targets))
    randomise(model)
    return model


def test_what_attention_reads_is_refused_and_the_model_left_as_it_was() -> None:
    base = Encoder()
    names, before = [name for name, _ in base.named_modules()], bits(base)
    with pytest.raises(TypeError, match=r"NonDyn.* is not supported: nn\.MultiheadAttention reads its weight"):
        get_peft_model(base, GPartConfig(d=7, target_modules=["linear1", "out_proj"]))
    assert [name for name, _ in base.named_modules()] == names
    assert same_bits(bits(base), before)


@pytest.mark.parametrize("spelling", ["all-linear", "All-Linear"])
def test_all_linear_leaves_it_out_and_says_so(spelling: str) -> None:
    with pytest.warns(UserWarning, match=r"leaves out encoder\.layers\.0\.self_attn\.out_proj, .*out_proj: nn"):
        model = adapted(spelling)
    names = [layer.name for layer in tuner(model).partition().layers]
    assert len(names) == 5
    assert not [name for name in names if name.endswith("out_proj")]
    assert same_layers(model.peft_config["default"].target_modules)


def same_layers(targets: Any) -> bool:
    """Whether the names that are saved choose the same layers again, without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return len(layers(get_peft_model(Encoder(), GPartConfig(d=7, target_modules=targets)))) == 5


@pytest.mark.parametrize("padded", [None, PADDED], ids=["whole", "padded"])
@pytest.mark.parametrize("gradient", [True, False], ids=["grad", "no_grad"])
def test_an_encoder_in_evaluation_computes_with_what_is_adapted(padded: Tensor | None, gradient: bool) -> None:
    model = adapted(["linear1", "linear2"])
    with torch.set_grad_enabled(gradient):
        found = model(X, padded)
        with model.disable_adapter():
            plain = model(X, padded)
        merged = model.merge_and_unload()(X, padded)
        base = Encoder().eval()(X, padded)
    kept = slice(None) if padded is None else ~padded
    assert (found - plain)[kept].abs().max() > 0.1
    torch.testing.assert_close(found[kept], merged[kept], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(plain[kept], base[kept], rtol=1e-5, atol=1e-5)


def test_an_encoder_of_which_nothing_is_adapted_keeps_its_fast_path() -> None:
    model = adapted(["first"])
    assert model.get_base_model().encoder.use_nested_tensor
    assert model.get_base_model().encoder.layers[0].activation_relu_or_gelu == 1
