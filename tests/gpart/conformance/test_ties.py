"""A head tied to the embedding: an adapter changes the layer that it is on, and merging does not move the other."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from gpart import GPartConfig
from tests.gpart.conformance.models import DECODER, ENCODER, IDS, STRONG, bits, randomise, same_bits

TARGETS = pytest.mark.parametrize("targets", [["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head"]], ids="+".join)
KEEP = pytest.mark.parametrize("keep_base", [False, True], ids=["by subtraction", "kept"])
pytestmark = pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")


def new() -> nn.Module:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**ENCODER, **STRONG, **DECODER, tie_word_embeddings=True)).eval()


def adapted(targets: list[str], keep_base: bool = False) -> PeftModel:
    model = get_peft_model(new(), GPartConfig(d=24, target_modules=targets, keep_base=keep_base)).eval()
    randomise(model)
    return model


def output(model: nn.Module) -> torch.Tensor:
    result: torch.Tensor = model(input_ids=IDS).logits.detach()
    return result


@TARGETS
def test_only_the_targeted_side_changes(targets: list[str]) -> None:
    untied = LlamaForCausalLM(LlamaConfig(**ENCODER, **STRONG, **DECODER, tie_word_embeddings=False)).eval()
    untied.load_state_dict(new().state_dict())
    other = get_peft_model(untied, GPartConfig(d=24, target_modules=targets)).eval()
    randomise(other)
    assert torch.equal(output(adapted(targets)), output(other))


@TARGETS
@KEEP
def test_merging_and_unmerging(targets: list[str], keep_base: bool) -> None:
    model = adapted(targets, keep_base)
    before, weights, plain = output(model), bits(model), output(new())
    for _ in range(2):
        model.merge_adapter()
        assert torch.equal(output(model), before)
        with model.disable_adapter():
            assert torch.equal(output(model), plain)
        assert torch.equal(output(model), before)
        assert same_bits(bits(model), weights)
        base = model.get_base_model()
        assert base.lm_head.weight is base.model.embed_tokens.weight
    assert torch.equal(output(copy.deepcopy(model).unload()), plain)


@TARGETS
def test_what_is_merged_for_good_is_untied_and_saved_so(targets: list[str], tmp_path: Path) -> None:
    model = adapted(targets)
    before = output(model)
    with pytest.warns(UserWarning, match="no longer tied after merging"):
        merged = model.merge_and_unload()
    assert torch.equal(output(merged), before)
    assert not merged.config.tie_word_embeddings
    merged.save_pretrained(tmp_path)
    loaded = LlamaForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert torch.equal(output(loaded), before)


@TARGETS
def test_a_checkpoint_gives_the_same_output(targets: list[str], tmp_path: Path) -> None:
    model = adapted(targets)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*save_embedding_layers")
        model.save_pretrained(tmp_path)
    assert torch.equal(output(PeftModel.from_pretrained(new(), str(tmp_path)).eval()), output(model))
