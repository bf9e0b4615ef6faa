"""Replacing the weights of a live adapter: all of them in place, whatever is around the model, or none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn

from gpart import hotswap_adapter
from gpart.tuner import building
from tests.gpart.conformance.models import bits, same_bits
from tests.gpart.small_models import SMALL, logits, randomise, tuner

ROBERTA, LLAMA = SMALL["roberta"], SMALL["llama"]
HEAD: dict[str, Any] = {"modules_to_save": ["lm_head"]}


def compiled(model: Any) -> nn.Module:
    return torch.compile(model, backend="eager")


def plain(model: nn.Module) -> nn.Module:
    return model


EACH_WRAPPER = pytest.mark.parametrize("wrap", [plain, compiled, nn.DataParallel], ids=lambda wrap: wrap.__name__)


@pytest.fixture
def _no_compilation() -> Iterator[None]:
    """For what asks of torch.compile its wrapper alone."""
    with torch.compiler.set_stance("force_eager"):
        yield


def live(**changes: Any) -> PeftModel:
    """A model whose vector is zero."""
    return get_peft_model(LLAMA.new(), LLAMA.config(**changes)).eval()


def trained(folder: Path, **changes: Any) -> PeftModel:
    """A model with values of its own in vector and head, saved in a folder."""
    model = LLAMA.adapted_model(**changes)
    if "modules_to_save" in changes:
        with torch.no_grad():
            model.get_base_model().lm_head.modules_to_save["default"].weight.normal_()
    model.save_pretrained(str(folder))
    return model


@EACH_WRAPPER
@pytest.mark.usefixtures("_no_compilation")
@pytest.mark.parametrize("changes", [{}, HEAD], ids=["vector", "head"])
def test_vector_and_head_are_replaced_in_place(wrap: Any, changes: dict[str, Any], tmp_path: Path) -> None:
    source, model = trained(tmp_path, **changes), live(**changes)
    outside = wrap(model)
    before, objects = logits(outside), {name: id(parameter) for name, parameter in model.named_parameters()}
    hotswap_adapter(outside, tmp_path)
    assert not torch.equal(logits(outside), before)
    assert torch.equal(logits(outside), logits(source))
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == objects
    randomise(source, seed=99)
    hotswap_adapter(outside, tuner(source).gpart_theta["default"])
    assert torch.equal(logits(outside), logits(source))


def test_a_compiled_graph_is_not_made_again(tmp_path: Path) -> None:
    torch._dynamo.reset()
    trained(tmp_path)
    counter = torch._dynamo.testing.CompileCounter()
    model: Any = torch.compile(live(), backend=counter)
    before = logits(model)
    frames = counter.frame_count
    hotswap_adapter(model, tmp_path)
    assert not torch.equal(logits(model), before)
    assert counter.frame_count == frames > 0


def test_a_head_inside_of_a_compiled_base_is_replaced(tmp_path: Path) -> None:
    source = trained(tmp_path, **HEAD)
    with torch.compiler.set_stance("force_eager"):
        model = get_peft_model(compiled(LLAMA.new()), LLAMA.config(task_type=None, **HEAD)).eval()
        hotswap_adapter(model, tmp_path)
        assert torch.equal(logits(model), logits(source))


@pytest.mark.parametrize(
    ("own", "other", "reason"),
    [
        ({}, HEAD, r"source: holds base_model\.model\.lm_head\.weight, which the live adapter does not train"),
        (HEAD, {}, r"source: holds no base_model\.model\.lm_head\.weight, which the live adapter trains"),
        ({}, {"seed": 1}, "seed is 1 in the checkpoint and 0 here"),
        (HEAD, {**HEAD, "target_modules": ["q_proj", "k_proj"]}, "its partition is not this model's"),
        ({}, {"d": 25}, "d is 25 in the checkpoint and 24 here"),
    ],
    ids=["head-more", "head-missing", "seed", "targets", "d"],
)
@EACH_WRAPPER
def test_what_does_not_fit_is_refused_and_changes_nothing(
    wrap: Any, own: dict[str, Any], other: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    trained(tmp_path, **other)
    model = live(**own)
    before = bits(model)
    with pytest.raises(ValueError, match=reason):
        hotswap_adapter(wrap(model), tmp_path)
    assert same_bits(bits(model), before)


@pytest.mark.parametrize("key", ["base_model.gpart_theta", "base_model.model.lm_head.weight"])
@pytest.mark.parametrize("damage", [lambda value: value[:3].clone(), None], ids=["shape", "missing"])
def test_a_damaged_file_is_refused_and_changes_nothing(
    key: str, damage: Callable[..., Any] | None, tmp_path: Path
) -> None:
    trained(tmp_path, **HEAD)
    file = tmp_path / "adapter_model.safetensors"
    weights = load_file(file)
    value = weights.pop(key)
    save_file(weights | ({} if damage is None else {key: damage(value)}), file)
    model = live(**HEAD)
    before = bits(model)
    with pytest.raises(ValueError, match="has shape .*; accepted is" if damage else f"holds no {key}"):
        hotswap_adapter(model, tmp_path)
    assert same_bits(bits(model), before)


@pytest.mark.filterwarnings("ignore:.*save_embedding_layers")
def test_an_embedding_that_is_saved_along_must_be_the_live_one(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"target_modules": ["embed_tokens", "q_proj"]}
    source, model = trained(tmp_path, **changes), live(**changes)
    assert "base_model.model.model.embed_tokens.base_layer.weight" in load_file(tmp_path / "adapter_model.safetensors")
    hotswap_adapter(model, tmp_path)
    assert torch.equal(logits(model), logits(source))
    with torch.no_grad():
        model.get_base_model().model.embed_tokens.weight.add_(1)
    with pytest.raises(ValueError, match=r"source: holds base_model\.model\.model\.embed_tokens"):
        hotswap_adapter(model, tmp_path)


def test_a_head_is_refused_even_where_it_has_not_moved(tmp_path: Path) -> None:
    live(**HEAD).save_pretrained(str(tmp_path))
    with pytest.raises(ValueError, match=r"source: holds base_model\.model\.lm_head\.weight"):
        hotswap_adapter(live(), tmp_path)


def test_a_source_may_have_wrappers_in_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.compiler.set_stance("force_eager"), monkeypatch.context() as patch:
        patch.setattr(building, "plain_name", lambda model, name: name)
        source = get_peft_model(compiled(LLAMA.new()), LLAMA.config(task_type=None)).eval()
        randomise(source)
        source.save_pretrained(str(tmp_path))
    assert "_orig_mod" in json.loads((tmp_path / "adapter_config.json").read_text())["partition"]["layers"][0]
    model = live()
    for _ in range(2):
        hotswap_adapter(model, tmp_path)
    assert torch.equal(logits(model), logits(LLAMA.adapted_model()))
    assert len(tuner(model)._partitions["default"]) == 2


def test_what_is_merged_missing_or_of_another_shape_is_refused(tmp_path: Path) -> None:
    ROBERTA.adapted_model().save_pretrained(str(tmp_path))
    model = ROBERTA.adapted_model()
    with pytest.raises(ValueError, match=r"source: has shape \(3,\); accepted is \(24,\)"):
        hotswap_adapter(model, torch.zeros(3))
    with pytest.raises(ValueError, match=r"adapter_name: 'x' is no GPart adapter .*; accepted are 'default'"):
        hotswap_adapter(model, tmp_path, "x")
    with pytest.raises(ValueError, match=r"adapter_name: 'default' is no GPart adapter .*; accepted are none"):
        hotswap_adapter(ROBERTA.new(), tmp_path)
    model.merge_adapter()
    for source in (tmp_path, torch.zeros(24)):
        with pytest.raises(ValueError, match=r"adapter_name: 'default' is merged; accepted after unmerge_adapter\(\)"):
            hotswap_adapter(compiled(model), source)


@pytest.mark.parametrize("wrap", [plain, compiled])
def test_peft_s_own_state_dicts_reach_the_vector_through_a_wrapper(wrap: Any) -> None:
    source, model = LLAMA.adapted_model(), live()
    state = get_peft_model_state_dict(wrap(source))
    assert set(state) == {"base_model.gpart_theta", "base_model.gpart_partition"}
    set_peft_model_state_dict(wrap(model), state)
    assert torch.equal(tuner(model).gpart_theta["default"], tuner(source).gpart_theta["default"])
