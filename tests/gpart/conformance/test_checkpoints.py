"""Saving and loading: the same tensors, the same outputs, the base untouched."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import nn

from gpart import GPartConfig
from tests.gpart.conformance.models import (
    EACH_MODEL,
    EACH_VARIANT,
    MODELS,
    D,
    Layers,
    Model,
    bits,
    layers,
    randomise,
    same_bits,
    theta,
    tuner,
)

LOW = pytest.mark.parametrize("low_cpu_mem_usage", [False, True], ids=["plain", "low_cpu_mem_usage"])
MLP = MODELS[0]
SAVED = {"base_model.gpart_theta", "base_model.gpart_partition"}


def loaded_without_warning(base: nn.Module, folder: Path, **options: Any) -> PeftModel:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=FutureWarning)
        return PeftModel.from_pretrained(base, str(folder), **options)


@EACH_VARIANT
@LOW
def test_a_saved_adapter_comes_back_bit_by_bit(
    model: Model, variant: dict[str, Any], low_cpu_mem_usage: bool, tmp_path: Path
) -> None:
    adapted = model.adapted(**variant)
    adapted.save_pretrained(tmp_path)
    base = model.new()
    before = bits(base)
    loaded = loaded_without_warning(base, tmp_path, low_cpu_mem_usage=low_cpu_mem_usage)
    assert not loaded.training
    assert same_bits(bits(loaded), bits(adapted))
    assert same_bits({name: value for name, value in bits(loaded).items() if "gpart" not in name}, before)
    assert torch.equal(model.output(loaded), model.output(adapted))
    assert not torch.equal(model.output(loaded), model.output(model.new()))
    assert {parameter.device.type for parameter in loaded.parameters()} == {"cpu"}


@EACH_MODEL
def test_a_checkpoint_is_the_vector_and_its_description(model: Model, tmp_path: Path) -> None:
    adapted = model.adapted()
    adapted.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert set(saved) == SAVED
    assert torch.equal(saved["base_model.gpart_theta"], theta(adapted))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["peft_type"] == "GPART"
    assert config["inference_mode"]
    read = PeftConfig.from_pretrained(tmp_path)
    assert read.target_modules == set(model.targets)
    own, stored = adapted.peft_config["default"].to_dict(), read.to_dict()
    assert {name for name in own if own[name] != stored[name]} == {"inference_mode", "auto_mapping"}


@EACH_MODEL
def test_the_pickled_format_loads_as_well(model: Model, tmp_path: Path) -> None:
    adapted = model.adapted()
    adapted.save_pretrained(tmp_path, safe_serialization=False)
    assert (tmp_path / "adapter_model.bin").is_file()
    loaded = PeftModel.from_pretrained(model.new(), str(tmp_path))
    assert torch.equal(model.output(loaded), model.output(adapted))


@EACH_MODEL
@LOW
def test_more_adapters_load_beside_the_first(model: Model, low_cpu_mem_usage: bool, tmp_path: Path) -> None:
    saved = model.adapted(scheme="block")
    saved.add_adapter("other", model.config(d=11, seed=9))
    randomise(saved, "other", seed=8)
    saved.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(model.new(), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage)
    result = loaded.load_adapter(str(tmp_path / "other"), "renamed", low_cpu_mem_usage=low_cpu_mem_usage)
    assert not result.missing_keys
    assert not result.unexpected_keys
    assert loaded.active_adapter == "default"
    assert not any(parameter.is_meta for parameter in loaded.parameters())
    for mine, theirs in (("default", "default"), ("renamed", "other")):
        loaded.set_adapter(mine)
        saved.set_adapter(theirs)
        assert torch.equal(model.output(loaded), model.output(saved))


def test_only_the_adapters_asked_for_are_saved(tmp_path: Path) -> None:
    adapted = MLP.adapted()
    adapted.add_adapter("other", MLP.config(d=11))
    adapted.save_pretrained(tmp_path, selected_adapters=["other"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "other"]


@EACH_MODEL
def test_a_trained_head_is_saved_and_restored(model: Model, tmp_path: Path) -> None:
    adapted = model.adapted(modules_to_save=[model.head])
    plain = model.output(model.adapted())
    head = adapted.get_base_model().get_submodule(model.head).modules_to_save["default"]
    with torch.no_grad():
        head.weight.normal_()
    adapted.save_pretrained(tmp_path)
    loaded = loaded_without_warning(model.new(), tmp_path)
    assert torch.equal(model.output(loaded), model.output(adapted))
    assert not torch.equal(model.output(adapted), plain)
    with loaded.disable_adapter():
        assert torch.equal(model.output(loaded), model.output(model.new()))
    assert torch.equal(model.output(loaded.merge_and_unload()), model.output(adapted))


@EACH_MODEL
@pytest.mark.parametrize("is_trainable", [False, True], ids=["inference", "trainable"])
def test_only_what_is_asked_for_is_trainable_after_loading(model: Model, is_trainable: bool, tmp_path: Path) -> None:
    model.adapted(modules_to_save=[model.head]).save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(model.new(), str(tmp_path), is_trainable=is_trainable)

    def trainable() -> set[str]:
        """The adapters whose vector and head are trainable, both, if nothing else is."""
        names = {name for name, parameter in loaded.named_parameters() if parameter.requires_grad}
        found = {name.rpartition(".")[2] for name in names if "gpart_theta" in name}
        heads = {
            name for name, _ in loaded.named_parameters() if any(f"modules_to_save.{one}." in name for one in found)
        }
        assert names == heads | {f"base_model.gpart_theta.{one}" for one in found}
        return found

    assert loaded.peft_config["default"].inference_mode is not is_trainable
    assert trainable() == ({"default"} if is_trainable else set())
    loaded.load_adapter(str(tmp_path), "other", is_trainable=is_trainable)
    assert trainable() == ({"default", "other"} if is_trainable else set())
    loaded.load_adapter(str(tmp_path), "opposite", is_trainable=not is_trainable)
    assert trainable() == ({"default", "other"} if is_trainable else {"opposite"})


@EACH_MODEL
def test_a_state_dict_is_put_back_and_left_as_it_was(model: Model) -> None:
    adapted, other = model.adapted(modules_to_save=[model.head]), model.adapted(vector=99, modules_to_save=[model.head])
    assert [key for key in adapted.state_dict() if "gpart" in key] == ["base_model.gpart_theta.default"]
    state = get_peft_model_state_dict(adapted)
    kept = dict(state)
    for _ in range(2):
        result = set_peft_model_state_dict(other, state)
        assert not result.unexpected_keys
    assert list(state) == list(kept)
    assert all(state[name] is kept[name] for name in kept)
    assert torch.equal(model.output(other), model.output(adapted))
    whole = model.adapted(vector=99, modules_to_save=[model.head])
    whole.load_state_dict(adapted.state_dict())
    assert torch.equal(model.output(whole), model.output(adapted))


@EACH_MODEL
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_copies_are_whole_and_independent(model: Model, how: str, tmp_path: Path) -> None:
    adapted = model.adapted(scheme="iid")
    if how == "deepcopy":
        copied = copy.deepcopy(adapted)
        assert tuner(copied).partition() is tuner(adapted).partition()
    elif how == "pickle":
        copied = pickle.loads(pickle.dumps(adapted))
    else:
        torch.save(adapted, tmp_path / "model.pt")
        copied = torch.load(tmp_path / "model.pt", weights_only=False)
    before = model.output(adapted)
    assert torch.equal(model.output(copied), before)
    assert same_bits(bits(copied), bits(adapted))
    assert all(layer.gpart_theta is tuner(copied).gpart_theta for layer in layers(copied))
    randomise(copied, seed=99)
    assert torch.equal(model.output(adapted), before)
    assert not torch.equal(model.output(copied), before)
    model.output(copied).sum().backward()
    assert theta(copied).grad is not None
    assert theta(adapted).grad is None


@EACH_MODEL
def test_a_model_without_weights_is_planned(model: Model) -> None:
    with torch.device("meta"):
        base = model.build()
    planned = get_peft_model(base, model.config(), low_cpu_mem_usage=True)
    partition = tuner(model.adapted()).partition()
    assert theta(planned).is_meta
    assert theta(planned).shape == (D,)
    assert tuner(planned).partition().layers == partition.layers
    assert tuner(planned).partition().n == partition.n


@pytest.mark.parametrize("name", ["first", "second", "head", "theta", "gpart-2", "weight", "model", "0"])
def test_the_name_of_an_adapter_makes_no_difference(name: str, tmp_path: Path) -> None:
    adapted = get_peft_model(MLP.new(), MLP.config(), adapter_name=name).eval()
    randomise(adapted, name)
    adapted.save_pretrained(tmp_path)
    expected = MLP.output(MLP.adapted())
    assert torch.equal(MLP.output(adapted), expected)
    assert set(load_file(tmp_path / name / "adapter_model.safetensors")) == SAVED
    loaded = loaded_without_warning(MLP.new(), tmp_path / name, adapter_name="default")
    assert torch.equal(MLP.output(loaded), expected)
    assert adapted.active_adapters == [name]
    loaded.load_adapter(str(tmp_path / name), name)
    loaded.set_adapter(name)
    assert torch.equal(MLP.output(loaded), expected)


@pytest.mark.parametrize("prefix", ["gpart_", "gpart_theta", "base_model", "base_layer", "weight", "default"])
def test_modules_of_the_base_may_have_names_of_ours(prefix: str, tmp_path: Path) -> None:
    names = [f"{prefix}x", f"x_{prefix}", prefix]

    def new() -> nn.Module:
        torch.manual_seed(0)
        return Layers(nn.Linear(5, 3), **{name: nn.Linear(5, 5) for name in [*names, "first"]})

    x = torch.ones(2, 5)
    adapted = get_peft_model(new(), GPartConfig(d=8, target_modules=["first", names[0]]))
    randomise(adapted)
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert trained == {"base_model.gpart_theta.default"}
    adapted.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / "adapter_model.safetensors")) == SAVED
    assert torch.equal(PeftModel.from_pretrained(new(), str(tmp_path))(x), adapted(x))
    head = get_peft_model(new(), GPartConfig(d=8, target_modules=["first"], modules_to_save=[names[1]]))
    with torch.no_grad():
        head.get_base_model().get_submodule(names[1]).modules_to_save["default"].weight.fill_(1.5)
    head.save_pretrained(tmp_path / "head")
    assert torch.equal(PeftModel.from_pretrained(new(), str(tmp_path / "head"))(x), head(x))
