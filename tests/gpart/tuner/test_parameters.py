"""Parameters that modules hold themselves, as stacked experts: exact in forward, gradient, merging and checkpoints."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import MixtralConfig, MixtralForCausalLM

from gpart import GPartConfig
from tests.gpart.conformance.models import bits, same_bits
from tests.gpart.small_models import INPUTS, randomise, tuner

EXPERTS = ["experts.gate_up_proj", "experts.down_proj"]
SIZES = {
    **{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 60},
    **{"num_key_value_heads": 2, "num_local_experts": 4, "initializer_range": 0.2},
}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"scheme": "block", "target_modules": []},
    {"scheme": "signed_magnitude", "scope": "transformer_block", "target_parameters": [*EXPERTS, "gate.weight"]},
]
EACH_VARIANT = pytest.mark.parametrize("changes", VARIANTS, ids=["hash", "block-alone", "signed-in-blocks"])


def new(dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    base = MixtralForCausalLM(MixtralConfig(**SIZES)).to(dtype).eval()  # type: ignore[arg-type]
    base.set_experts_implementation("eager")  # the only one that takes float64
    return base


def config(**changes: Any) -> GPartConfig:
    return GPartConfig(**{"d": 30, "target_modules": ["q_proj"], "target_parameters": list(EXPERTS), **changes})


def adapted(dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    model = get_peft_model(new(dtype), config(**changes)).eval()
    randomise(model)
    return model


@torch.no_grad()
def output(model: nn.Module) -> Tensor:
    result: Tensor = model(input_ids=INPUTS).logits
    return result


def own(base: nn.Module, name: str) -> nn.Parameter:
    """The weight of a module, or the parameter, that a partition calls so."""
    parameters = dict(base.named_parameters())
    return parameters[name if name in parameters else f"{name}.weight"]


def effective(model: PeftModel, base: nn.Module) -> list[nn.Parameter]:
    """The adapted parameters of a base, in order, after P theta has been added to them."""
    partition, found = tuner(model).partition(), []
    change = partition.project(tuner(model).gpart_theta["default"].detach())
    for layer, part in zip(partition.layers, change.split(partition.sizes), strict=True):
        found.append(own(base, layer.name))
        found[-1].data += part.view(layer.shape).to(found[-1].dtype)
    return found


@EACH_VARIANT
def test_output_and_gradient_are_those_of_the_effective_weights(changes: dict[str, Any]) -> None:
    model, base = adapted(torch.float64, **changes), new(torch.float64)
    assert torch.equal(output(get_peft_model(new(torch.float64), config(**changes))), output(base))
    parameters = effective(model, base)
    assert [list(p.shape) for p in parameters].count([4, 48, 16]) == 2
    torch.testing.assert_close(output(model), output(base), rtol=1e-12, atol=1e-12)
    assert (output(model) - output(new(torch.float64))).abs().max() > 0.1
    for one in (model, base):
        one(input_ids=INPUTS, labels=INPUTS).loss.backward()
    flat = torch.cat([parameter.grad.reshape(-1) for parameter in parameters if parameter.grad is not None])
    theta = tuner(model).gpart_theta["default"]
    torch.testing.assert_close(theta.grad, tuner(model).partition().adjoint(flat), rtol=1e-9, atol=1e-12)
    assert theta.grad is not None
    assert theta.grad.any()


@EACH_VARIANT
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_merging_keeps_every_bit(changes: dict[str, Any], dtype: torch.dtype) -> None:
    model = adapted(dtype, keep_base=True, **changes)
    before, plain = output(model), output(new(dtype))
    model.merge_adapter()
    assert torch.equal(output(model), before)
    with model.disable_adapter():
        assert torch.equal(output(model), plain)
    assert torch.equal(output(model), before)
    assert same_bits(bits(copy.deepcopy(model).unload()), bits(new(dtype)))
    merged = model.merge_and_unload()
    assert torch.equal(output(merged), before)
    assert [name for name, _ in merged.named_parameters()] == [name for name, _ in new().named_parameters()]
    assert type(merged.model.layers[0].mlp.experts) is type(new().model.layers[0].mlp.experts)


@EACH_VARIANT
def test_saving_and_loading(changes: dict[str, Any], tmp_path: Path) -> None:
    model = adapted(**changes)
    model.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(new(), str(tmp_path)).eval()
    assert torch.equal(output(loaded), output(model))
    names = [str(layer) for layer in tuner(loaded).partition().layers]
    assert "model.layers.0.mlp.experts.gate_up_proj 4x48x16" in names
    with pytest.raises(ValueError, match="its partition is not this model's"):
        PeftModel.from_pretrained(new(), str(tmp_path), config=config(**{**changes, "target_parameters": EXPERTS[:1]}))


@pytest.mark.parametrize("experts", ["eager", "batched_mm", "grouped_mm"])
def test_every_way_to_compute_experts_reads_the_effective_weights(experts: str) -> None:
    model, base = adapted(), new()
    effective(model, base)
    for one in (model.get_base_model(), base):
        one.set_experts_implementation(experts)
    torch.testing.assert_close(output(model), output(base), rtol=1e-5, atol=1e-5)


def test_adapters_may_have_different_parameters() -> None:
    model = adapted(target_parameters=EXPERTS[1:], keep_base=True)
    first = output(model)
    model.add_adapter("other", config(seed=5, keep_base=True))
    randomise(model, "other", seed=8)
    assert torch.equal(output(model), first)
    alone = get_peft_model(new(), config(seed=5)).eval()
    randomise(alone, seed=8)
    model.set_adapter("other")
    assert torch.equal(output(model), output(alone))
    tuner(model).set_adapter(["default", "other"])
    both = output(model)
    assert not torch.equal(both, output(alone))
    model.merge_adapter()
    assert torch.equal(output(model), both)
    model.unmerge_adapter()
    model.delete_adapter("other")
    assert torch.equal(output(model), first)


def test_dropout_and_a_weighted_sum() -> None:
    model = adapted(dropout=0.5).train()
    assert not torch.equal(output(model), output(model))
    model.eval().add_weighted_adapter(["default"], [0.5], "halved")
    model.set_adapter("halved")
    base = new()
    effective(model, base)
    halved = [own(base, layer.name).lerp(own(new(), layer.name), 0.5) for layer in tuner(model).partition().layers]
    for layer, value in zip(tuner(model).partition().layers, halved, strict=True):
        own(base, layer.name).data.copy_(value)
    torch.testing.assert_close(output(model), output(base), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_model_with_experts_compiles_without_a_break() -> None:
    torch._dynamo.reset()
    model = adapted()
    model.get_base_model().set_experts_implementation("grouped_mm")
    expected = output(model)
    compiled: Any = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(output(compiled), expected, rtol=1e-5, atol=1e-5)


# Other modules than experts


class Attention(nn.Module):
    """torch's attention, which reads its weights itself, with parameters that no forward of their own has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 1)
        self.listed = nn.ParameterList([nn.Parameter(torch.ones(2, 2))])
        self.whole = nn.Module()
        self.top = nn.Parameter(torch.ones(2, 2))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.encoder(x)
        return result


@pytest.mark.parametrize("gradient", [True, False], ids=["grad", "no_grad"])
def test_what_attention_projects_with_is_adapted(gradient: bool) -> None:
    model = get_peft_model(
        Attention().eval(), GPartConfig(d=5, target_modules=[], target_parameters=["self_attn.in_proj_weight"])
    )
    randomise(model)
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(1))
    with torch.set_grad_enabled(gradient):
        found = model(x)
        merged = model.merge_and_unload()(x)
        base = Attention().eval()(x)
    torch.testing.assert_close(found, merged, rtol=1e-5, atol=1e-5)
    assert (found - base).abs().max() > 0.05


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("self_attn.out_proj.weight", "weight of NonDynamicallyQuantizableLinear .*: its module is never called"),
        ("listed.0", "0 of ParameterList is not supported: its module is never called"),
        ("encoder.layers.0.norm1.weight", "weight of LayerNorm is not supported: it is torch.int8; accepted are torch"),
    ],
)
def test_a_parameter_that_would_have_no_effect_is_refused(name: str, reason: str) -> None:
    base = Attention()
    if "int8" in reason:
        base.encoder.layers[0].norm1.weight = nn.Parameter(torch.ones(8, dtype=torch.int8), requires_grad=False)
    names = [module for module, _ in base.named_modules()]
    with pytest.raises(TypeError, match=f"Target parameter {reason}"):
        get_peft_model(base, GPartConfig(d=5, target_modules=["linear1"], target_parameters=[name]))
    assert [module for module, _ in base.named_modules()] == names


@pytest.mark.parametrize("missing", ["experts.gate_proj", "perts.down_proj", "q_proj.bias"])
@pytest.mark.filterwarnings("ignore:target_parameters")
def test_every_parameter_must_be_found(missing: str) -> None:
    base = new()
    names = [module for module, _ in base.named_modules()]
    with pytest.raises(ValueError, match=f"target_parameters: '{missing}' is no parameter of the model; accepted"):
        get_peft_model(base, config(target_parameters=[EXPERTS[0], missing]))
    assert [module for module, _ in base.named_modules()] == names


def test_a_string_is_no_list_of_parameters() -> None:
    with pytest.raises(ValueError, match="target_parameters: 'experts'; accepted are None and a list of names"):
        config(target_parameters="experts")


def test_all_linear_says_that_it_leaves_the_experts() -> None:
    with pytest.warns(
        UserWarning, match=r"leaves 9216 that are no layers, such as model\.layers\.0\.mlp\.experts\.gate_up"
    ):
        get_peft_model(new(), config(target_modules="all-linear", target_parameters=None))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=FutureWarning)
        get_peft_model(new(), config(target_modules="all-linear"))
