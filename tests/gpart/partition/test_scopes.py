from __future__ import annotations

import pytest
import torch
from peft import PeftModel, get_peft_model

from gpart.partition.scopes import in_order, subpartitions, transformer_block
from tests.gpart.small_models import SMALL, logits, tuner

ROBERTA = SMALL["roberta"]
IN_BLOCKS = {"scope": "transformer_block", "d": 25}


@pytest.mark.parametrize(
    ("module", "block"),
    [
        ("roberta.encoder.layer.0.attention.self.query", "roberta.encoder.layer.0"),
        ("transformer.h.11.attn.c_attn", "transformer.h.11"),
        ("model.layers.3.mlp.experts.7.up_proj", "model.layers.3"),
        ("blocks.2.attn.qkv", "blocks.2"),
        ("outer.block.1.inner.layers.4.query", "outer.block.1"),
    ],
)
def test_the_block_of_a_module(module: str, block: str) -> None:
    assert transformer_block(module) == block


def test_other_lists_of_blocks() -> None:
    assert transformer_block("outer.block.1.inner.layers.4.query", "layers") == "outer.block.1.inner.layers.4"
    assert transformer_block("trunk.3.query", ["stem", "trunk"]) == "trunk.3"
    for name, lists in (("classifier.dense", None), ("encoder.layer.1.query", "h"), ("layer.query.0", None)):
        with pytest.raises(ValueError, match=f"no block for the module '{name}'; accepted are .* or layers_pattern"):
            transformer_block(name, lists)


def test_numbers_are_ordered_by_value() -> None:
    assert in_order(["b.h.10", "b.h.9", "a.h.2", "b.h.10"]) == ["a.h.2", "b.h.9", "b.h.10"]


def test_coordinates_are_divided_evenly() -> None:
    found = subpartitions("transformer_block", ["h.2", "h.0", "h.1", "h.0"], d=11, seed=7, sizes=[50, 20, 30, 40])
    assert found == [(0, 4, 7, [1, 3]), (4, 4, 8, [2]), (8, 3, 9, [0])]


def test_coordinates_of_one_block_do_not_reach_into_another() -> None:
    model = get_peft_model(ROBERTA.new(), ROBERTA.config(**IN_BLOCKS))
    theta = tuner(model).gpart_theta["default"]
    theta.data[:13] = 1.0
    layers = model.base_model.model.roberta.encoder.layer
    changes = [layer.attention.self.query.get_delta_weight("default") for layer in layers]
    assert changes[0].abs().min() > 0
    assert torch.equal(changes[1], torch.zeros(16, 16))
    assert tuner(model).partition().manifest["blocks"] == "2, from roberta.encoder.layer.0 to roberta.encoder.layer.1"


@pytest.mark.parametrize("scheme", ["block", "signed_magnitude"])
def test_a_checkpoint_is_loaded_and_refused_under_another_scope(scheme: str, tmp_path: str) -> None:
    model = ROBERTA.adapted_model(scheme=scheme, **IN_BLOCKS)
    model.save_pretrained(str(tmp_path))
    assert torch.equal(logits(PeftModel.from_pretrained(ROBERTA.new(), str(tmp_path))), logits(model))
    config = ROBERTA.config(scheme=scheme, d=25)
    with pytest.raises(ValueError, match="scope is 'transformer_block' in the checkpoint and 'global' here"):
        PeftModel.from_pretrained(ROBERTA.new(), str(tmp_path), config=config)


def test_a_module_outside_of_blocks_is_refused() -> None:
    config = ROBERTA.config(target_modules=["query", "dense"], task_type=None, **IN_BLOCKS)
    with pytest.raises(ValueError, match=r"scope: 'transformer_block' has no block for the module 'classifier\.dense'"):
        get_peft_model(ROBERTA.new(), config)


def test_the_list_of_blocks_may_be_named() -> None:
    for targets in (["query"], r".*\.query"):
        model = get_peft_model(
            ROBERTA.new(), ROBERTA.config(target_modules=targets, layers_pattern="layer", **IN_BLOCKS)
        )
        assert len(tuner(model).partition().layers) == 2
    with pytest.raises(ValueError, match=r"accepted are target_modules inside of numbered blocks in 'h', or"):
        get_peft_model(ROBERTA.new(), ROBERTA.config(layers_pattern="h", **IN_BLOCKS))
