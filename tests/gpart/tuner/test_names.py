"""Checkpoints know modules by name, whatever is wrapped around them, and by other names where one says so."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from gpart import GPartConfig
from gpart.tuner import building
from tests.gpart.small_models import SMALL, logits, randomise, tuner

LLAMA = SMALL["llama"]
NAMES = [f"model.layers.{block}.self_attn.{one}_proj" for block in (0, 1) for one in "qv"]
IN_BLOCKS = {"scope": "transformer_block", "d": 25}


@pytest.fixture(autouse=True)
def _no_compilation() -> Iterator[None]:
    """Names are all that matters of what torch.compile wraps."""
    with torch.compiler.set_stance("force_eager"):
        yield


class Sharded(nn.Module):
    """Holds a block as FullyShardedDataParallel does."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self._fsdp_wrapped_module = block

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._fsdp_wrapped_module(*args, **kwargs)


def compiled(base: Any) -> nn.Module:
    return torch.compile(base, backend="eager")


def compiled_by_layer(base: Any) -> nn.Module:
    for number, layer in enumerate(base.model.layers):
        base.model.layers[number] = torch.compile(layer, backend="eager")
    return base  # type: ignore[no-any-return]


def checkpointed(base: Any) -> nn.Module:
    apply_activation_checkpointing(base, check_fn=lambda module: isinstance(module, LlamaDecoderLayer))
    return base  # type: ignore[no-any-return]


def sharded(base: Any) -> nn.Module:
    base.model.layers[1] = Sharded(base.model.layers[1])
    return base  # type: ignore[no-any-return]


WRAPPINGS = [compiled, compiled_by_layer, checkpointed, sharded, nn.DataParallel]
EACH_WRAPPING = pytest.mark.parametrize("wrap", WRAPPINGS, ids=lambda wrap: wrap.__name__)


def adapted(wrap: Callable[[nn.Module], nn.Module] = lambda base: base, **changes: Any) -> PeftModel:
    made = get_peft_model(wrap(LLAMA.new()), LLAMA.config(**{"task_type": None, **changes})).eval()
    randomise(made)
    return made


def names(model: PeftModel) -> list[str]:
    return [layer.name for layer in tuner(model).partition().layers]


@EACH_WRAPPING
@pytest.mark.parametrize("options", [{}, IN_BLOCKS], ids=["global", "blocks"])
def test_a_checkpoint_passes_between_a_wrapped_base_and_a_plain_one(
    wrap: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    wrapped, plain = adapted(wrap, **options), adapted(**options)
    assert names(wrapped) == names(plain) == NAMES
    wrapped.save_pretrained(tmp_path / "wrapped")
    plain.save_pretrained(tmp_path / "plain")
    assert torch.equal(logits(PeftModel.from_pretrained(LLAMA.new(), tmp_path / "wrapped")), logits(plain))
    assert torch.equal(logits(PeftModel.from_pretrained(wrap(LLAMA.new()), tmp_path / "plain")), logits(plain))


@EACH_WRAPPING
@pytest.mark.parametrize("onto", ["wrapped", "plain"])
def test_a_checkpoint_with_the_wrappers_names_in_it_loads(
    wrap: Any, onto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(building, "plain_name", lambda model, name: name)
        saved = adapted(wrap)
        assert names(saved) != NAMES
        saved.save_pretrained(tmp_path)
    base = LLAMA.new() if onto == "plain" else wrap(LLAMA.new())
    loaded = PeftModel.from_pretrained(base, tmp_path)
    assert torch.equal(logits(loaded), logits(adapted()))
    loaded.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "adapter_config.json").read_text())["partition"]["layers"][0] == (
        "model.layers.0.self_attn.q_proj 16x16"
    )


class Holder(nn.Module):
    """Has a layer, and another of the same shape in a module that it calls `module`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dense = nn.Linear(4, 4)
        self.module = nn.Sequential()
        self.module.dense = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.module.dense(self.dense(x))
        return result


def test_a_module_that_a_model_calls_module_keeps_its_name(tmp_path: Path) -> None:
    def holder(target: str) -> PeftModel:
        return get_peft_model(Holder(), GPartConfig(d=3, target_modules=rf"{target}"))

    inside = holder(r"module\.dense")
    assert names(inside) == ["module.dense"]
    inside.save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"target_modules": "dense"}))
    with pytest.raises(ValueError, match=r"adapted are module\.dense 4x4 in the checkpoint and dense 4x4 here"):
        PeftModel.from_pretrained(Holder(), tmp_path)
    parallel = get_peft_model(nn.DataParallel(Holder()), GPartConfig(d=3, target_modules=["dense"]))
    assert names(parallel) == ["dense", "module.dense"]


def test_trained_modules_of_a_wrapped_base_are_warned_of_when_saved(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"_orig_mod\.lm_head.* onto a base wrapped alike; .* wrap the PeftModel"):
        adapted(compiled, modules_to_save=["lm_head"]).save_pretrained(tmp_path)


# Other names


def test_a_head_left_out_is_bridged_by_saying_so(tmp_path: Path) -> None:
    adapted().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"model\.layers\.0.* in the checkpoint and layers\.0.*; .* give renamed="):
        PeftModel.from_pretrained(LLAMA.new().model, tmp_path)
    loaded = PeftModel.from_pretrained(LLAMA.new().model, tmp_path, renamed={"model": ""})
    expected = adapted().get_base_model().model
    assert torch.equal(logits_of_body(loaded), logits_of_body(expected))
    loaded.save_pretrained(tmp_path / "body")
    assert "renamed" not in json.loads((tmp_path / "body" / "adapter_config.json").read_text())
    assert torch.equal(
        logits_of_body(PeftModel.from_pretrained(LLAMA.new().model, tmp_path / "body")), logits_of_body(expected)
    )
    back = PeftModel.from_pretrained(LLAMA.new(), tmp_path / "body", renamed={"layers": "model.layers"})
    assert torch.equal(logits(back), logits(adapted()))


@torch.no_grad()
def logits_of_body(body: nn.Module) -> Tensor:
    result: Tensor = body(input_ids=torch.tensor([[3, 4, 5]])).last_hidden_state
    return result


def test_blocks_and_parts_of_names_may_be_renamed_at_once(tmp_path: Path) -> None:
    adapted(**IN_BLOCKS).save_pretrained(tmp_path)
    body: Any = LLAMA.new().model
    body.blocks = body.layers
    del body.layers
    config = PeftConfig.from_pretrained(tmp_path)
    config.renamed = {"model.layers": "blocks"}  # type: ignore[attr-defined]
    loaded = PeftModel.from_pretrained(body, tmp_path, config=config)
    assert names(loaded)[0] == "blocks.0.self_attn.q_proj"
    assert torch.equal(tuner(loaded).gpart_theta["default"], tuner(adapted(**IN_BLOCKS)).gpart_theta["default"])


@pytest.mark.parametrize("targets", [["q_proj", "k_proj"], ["q_proj", "up_proj"], ["q_proj"]])
def test_what_is_renamed_must_still_be_the_same(targets: list[str], tmp_path: Path) -> None:
    adapted().save_pretrained(tmp_path)
    config: Any = PeftConfig.from_pretrained(tmp_path)
    changed = dataclasses.replace(config, target_modules=targets, renamed={"model": ""})
    with pytest.raises(ValueError, match="its partition is not this model's"):
        PeftModel.from_pretrained(LLAMA.new().model, tmp_path, config=changed)


@pytest.mark.parametrize("renamed", [["a"], {"": "a"}, {"a": None}, {1: "a"}, "a"])
def test_what_renames_nothing_is_refused(renamed: Any) -> None:
    with pytest.raises(ValueError, match=r"renamed: .*; accepted are None and a mapping of names"):
        GPartConfig(d=3, target_modules=["a"], renamed=renamed)


# What a refusal advises


def test_a_changed_configuration_says_how_to_begin_anew(tmp_path: Path) -> None:
    adapted().save_pretrained(tmp_path)
    changed: Any = dataclasses.replace(PeftConfig.from_pretrained(tmp_path), seed=5)  # type: ignore[type-var]
    with pytest.raises(ValueError, match=r"seed is 0 in the checkpoint and 5 here; .* set partition=None"):
        get_peft_model(LLAMA.new(), changed)
    changed = dataclasses.replace(changed, partition=None)
    assert tuner(get_peft_model(LLAMA.new(), changed)).partition().seed == 5


def test_a_newer_format_is_called_so(tmp_path: Path) -> None:
    adapted().save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    stored = json.loads(file.read_text())
    stored["partition"]["version"] = 2
    file.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r"checkpoint: made by a newer gpart \(format 2; this one reads 1\)"):
        PeftModel.from_pretrained(LLAMA.new(), tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_groups_of_weights_that_are_rounded_are_merged_before_it(dtype: torch.dtype, tmp_path: Path) -> None:
    adapted(scheme="signed_magnitude").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="load the base in the type that it had in training, merge there, and convert"):
        PeftModel.from_pretrained(LLAMA.new().to(dtype), tmp_path)
    merged = PeftModel.from_pretrained(LLAMA.new(), tmp_path).merge_and_unload().to(dtype)
    torch.testing.assert_close(logits(merged).float(), logits(adapted(scheme="signed_magnitude")), rtol=0.1, atol=0.05)
