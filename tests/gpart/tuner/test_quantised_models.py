"""Models with quantised layers: trained, saved, loaded onto floating weights, and merged there alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import PeftModel, get_peft_model, prepare_model_for_kbit_training
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

from gpart import GPartConfig, GPartLayer
from tests.gpart.small_models import INPUTS, logits, randomise, tuner
from tests.gpart.tuner.quantised_layers import (
    EACH,
    IN,
    KINDS,
    OUT,
    REASON,
    Int8Linear,
    assert_same,
    kinds,
    rows,
    shown,
    stored,
    trainable,
)


class Two(nn.Module):
    """A floating and a quantised layer, the floating first."""

    def __init__(self, kind: str | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, second = nn.Linear(16, IN), nn.Linear(IN, OUT)
        self.second = second if kind is None else KINDS[kind](second)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.second(self.first(x).tanh())
        return result


def config(**changes: Any) -> GPartConfig:
    return GPartConfig(**{"d": 24, "target_modules": ["first", "second"], **changes})


def model(kind: str | None, **changes: Any) -> PeftModel:
    made = get_peft_model(Two(kind), config(**changes)).train()
    randomise(made)
    return made


BATCH = rows(columns=16)


@torch.no_grad()
def output(of: nn.Module) -> Tensor:
    result: Tensor = of(BATCH)
    return result


@EACH
@pytest.mark.parametrize("scheme", ["hash", "block"])
def test_p_is_an_isometry_over_floating_and_quantised_layers(kind: str, scheme: str) -> None:
    partition = tuner(model(kind, scheme=scheme)).partition()
    assert [str(layer) for layer in partition.layers] == ["first 64x16", "second 32x64"]
    assert partition.n == 64 * 16 + 32 * 64
    columns = torch.stack([partition.project(unit) for unit in torch.eye(24, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(columns.T @ columns, torch.eye(24, dtype=torch.float64), rtol=0, atol=1e-12)


@EACH
def test_the_adapter_of_a_quantised_model_is_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    adapter = model(kind)
    adapter.save_pretrained(str(tmp_path))
    again = PeftModel.from_pretrained(Two(kind), str(tmp_path)).train()
    assert torch.equal(output(again), output(adapter))
    assert not torch.equal(output(again), output(Two(kind)))


@EACH
def test_it_is_the_same_adapter_on_the_model_that_is_not_quantised_and_merges_there(kind: str, tmp_path: Path) -> None:
    adapter = model(kind)
    adapter.save_pretrained(str(tmp_path))
    floating = PeftModel.from_pretrained(Two(None), str(tmp_path)).train()
    theirs, ours = (tuner(one).partition() for one in (adapter, floating))
    assert theirs.manifest == ours.manifest
    out = output(floating)
    assert torch.equal(output(floating.merge_and_unload()), out)


@EACH
def test_biases_of_quantised_layers_take_part(kind: str, tmp_path: Path) -> None:
    adapter = model(kind, bias="all")
    partition, theta = tuner(adapter).partition(), tuner(adapter).gpart_theta["default"]
    assert [str(layer) for layer in partition.layers] == ["first 64x16+64", "second 32x64+32"]
    parts = partition.project(theta).split([64 * 16, 64, 32 * 64, 32])
    layers = tuner(adapter).model
    first = F.linear(BATCH, layers.first.weight + parts[0].view(64, 16), layers.first.bias + parts[1]).tanh()
    expected = layers.second.base_layer(first) + first @ parts[2].view(32, 64).T + parts[3]
    out = adapter(BATCH)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    ours, theirs = (torch.autograd.grad(y.square().sum(), theta)[0] for y in (out, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))
    assert torch.equal(layers.second.get_delta_bias("default"), parts[3].detach())
    adapter.save_pretrained(str(tmp_path))
    again = PeftModel.from_pretrained(Two(kind), str(tmp_path)).train()
    assert torch.equal(output(again), output(adapter))


@EACH
def test_merging_a_model_is_refused_before_anything_changes(kind: str) -> None:
    adapter = model(kind)
    layers = tuner(adapter).model
    before, out, first = stored(layers.second.base_layer), output(adapter), layers.first.weight.clone()
    name = shown(layers.second.base_layer)
    for merge in (adapter.merge_adapter, adapter.merge_and_unload):
        with pytest.raises(ValueError, match=rf"merge: .*second.*{name}"):
            merge()
        assert isinstance(tuner(adapter).model.first, GPartLayer)
        assert not layers.first.merged
        assert torch.equal(layers.first.weight, first), "the floating layer comes first"
        assert_same(before, stored(layers.second.base_layer))
        assert torch.equal(output(adapter), out)
    with adapter.disable_adapter():
        assert torch.equal(output(adapter), output(Two(kind)))
    assert torch.equal(output(adapter.unload()), output(Two(kind)))


def test_an_adapter_beside_a_quantised_layer_merges() -> None:
    adapter = model("codes", target_modules=["first"])
    out = output(adapter)
    assert torch.equal(output(adapter.merge_and_unload()), out)


@EACH
def test_a_scheme_that_reads_the_weights_is_refused(kind: str) -> None:
    plain = Two(kind)
    name, before = shown(plain.second), output(plain)
    with pytest.raises(ValueError, match=rf"signed_magnitude.*second.*{name}"):
        get_peft_model(plain, config(scheme="signed_magnitude"))
    assert not any(isinstance(module, GPartLayer) for module in plain.modules())
    assert torch.equal(output(plain), before)


@EACH
def test_training_brings_the_loss_down_and_leaves_the_codes(kind: str) -> None:
    adapter = get_peft_model(Two(kind), config(target_modules=["second"], d=64)).train()
    second, target = (
        tuner(adapter).model.second.base_layer,
        torch.randn(2, 3, OUT, generator=torch.Generator().manual_seed(4)),
    )
    before, theta = stored(second), tuner(adapter).gpart_theta["default"]
    optimizer = torch.optim.Adam([p for p in adapter.parameters() if p.requires_grad], lr=0.3)
    assert [name for name, p in adapter.named_parameters() if p.requires_grad] == ["base_model.gpart_theta.default"]
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = (adapter(BATCH) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert (theta != 0).all()
    assert_same(before, stored(second))


PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def wide_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            vocab_size=60,
            bos_token_id=0,
            eos_token_id=1,
            attn_implementation="eager",
        )
    ).eval()


def quantised_llama(kind: str) -> LlamaForCausalLM:
    """Every projection quantised; embeddings, norms and head as they were."""
    llama = wide_llama()
    for parent in [module for module in llama.modules() if any(hasattr(module, name) for name in PROJECTIONS)]:
        for name in [name for name in PROJECTIONS if isinstance(getattr(parent, name, None), nn.Linear)]:
            setattr(parent, name, KINDS[kind](getattr(parent, name)))
    return llama


@kinds("codes", "bnb-int8", "bnb-nf4", "torchao-int8", "hqq")
@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_a_quantised_language_model_trains(kind: str, checkpointing: bool) -> None:
    llama = prepare_model_for_kbit_training(quantised_llama(kind), use_gradient_checkpointing=checkpointing)
    adapter = get_peft_model(llama, GPartConfig(d=48, target_modules=PROJECTIONS, task_type="CAUSAL_LM")).train()
    partition = tuner(adapter).partition()
    assert partition.n == 2 * 7 * 64 * 64
    assert len(partition.layers) == 14
    if checkpointing:
        adapter.gradient_checkpointing_enable({"use_reentrant": False})
    theta = tuner(adapter).gpart_theta["default"]
    before = stored(adapter.get_base_model().model.layers[0].mlp.down_proj.base_layer)
    optimizer, losses = torch.optim.Adam([theta], lr=0.3), []
    for _ in range(8):
        optimizer.zero_grad()
        loss = adapter(input_ids=INPUTS, labels=INPUTS).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05
    assert_same(before, stored(adapter.get_base_model().model.layers[0].mlp.down_proj.base_layer))


def test_a_quantised_language_model_and_its_gradients_are_those_of_the_same_weights_as_floats() -> None:
    quantised, floating = quantised_llama("codes"), wide_llama()
    for name, module in quantised.named_modules():
        if isinstance(module, Int8Linear):
            floating.get_submodule(name).weight.data = module.codes * module.scale
    results = []
    for llama in (quantised, floating):
        adapter = get_peft_model(llama, GPartConfig(d=48, target_modules=PROJECTIONS, task_type="CAUSAL_LM")).eval()
        randomise(adapter)
        embeddings = llama.get_input_embeddings()(INPUTS).detach().requires_grad_()
        out = adapter(inputs_embeds=embeddings, labels=INPUTS)
        gradients = torch.autograd.grad(out.loss, [embeddings, tuner(adapter).gpart_theta["default"]])
        results.append((out.logits.detach(), *gradients))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    assert all(gradient.abs().max() > 1e-3 for gradient in results[0][1:])


@pytest.mark.parametrize("bits", [8, 4])
def test_a_model_that_transformers_quantises_on_loading(bits: int, tmp_path: Path) -> None:
    bnb = pytest.importorskip("bitsandbytes", reason=REASON)
    pytest.importorskip("accelerate")
    wide_llama().save_pretrained(str(tmp_path / "base"))
    options: dict[str, Any] = (
        {"load_in_8bit": True}
        if bits == 8
        else {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": torch.float32}
    )

    def load() -> nn.Module:
        llama: nn.Module = LlamaForCausalLM.from_pretrained(
            str(tmp_path / "base"), quantization_config=BitsAndBytesConfig(**options), device_map="cpu"
        )
        return llama

    base = trainable(load())
    kind = bnb.nn.Linear8bitLt if bits == 8 else bnb.nn.Linear4bit
    assert isinstance(base.model.layers[0].self_attn.q_proj, kind)
    plain = logits(base)
    prepared = prepare_model_for_kbit_training(base)
    adapter = get_peft_model(prepared, GPartConfig(d=48, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert tuner(adapter).partition().n == 2 * 7 * 64 * 64
    randomise(adapter)
    adapter.train()(input_ids=INPUTS, labels=INPUTS).loss.backward()
    assert tuner(adapter).gpart_theta["default"].grad.abs().min() > 0
    out = logits(adapter.eval())
    assert (out - plain).abs().max() > 0.1
    adapter.save_pretrained(str(tmp_path / "adapter"))
    again = PeftModel.from_pretrained(trainable(load()), str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(logits(again), out, rtol=1e-5, atol=1e-5)
    floating = PeftModel.from_pretrained(wide_llama(), str(tmp_path / "adapter")).eval()
    assert torch.equal(
        logits(floating.merge_and_unload()),
        logits(PeftModel.from_pretrained(wide_llama(), str(tmp_path / "adapter")).eval()),
    )
