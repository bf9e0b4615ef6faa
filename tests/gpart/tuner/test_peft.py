"""What is special in the contract with PEFT; `conformance` holds what PEFT asks of every method."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    AutoPeftModelForSequenceClassification,
    LoraConfig,
    PeftConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    inject_adapter_in_model,
)
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import PeftType
from peft.utils.hotswap import hotswap_adapter as peft_hotswap_adapter
from torch import Tensor

from gpart import GPartConfig, GPartLayer, GPartModel, hotswap_adapter
from gpart.tuner import compat, release
from tests.gpart.conformance.models import bits
from tests.gpart.small_models import INPUTS, SMALL, logits, randomise, tuner

BERT, ROBERTA = SMALL["bert"], SMALL["roberta"]


# Registration


def test_the_type_is_a_member_of_peft_s_enum() -> None:
    member: Any = PeftType["GPART"]
    assert member is PeftType.GPART is PeftType("GPART")  # type: ignore[attr-defined]
    assert member in list(PeftType)
    assert member.value == member.name == "GPART"
    assert copy.deepcopy(member) is member
    assert PEFT_TYPE_TO_CONFIG_MAPPING["GPART"] is GPartConfig
    assert PEFT_TYPE_TO_TUNER_MAPPING["GPART"] is GPartModel


def test_registering_again_changes_nothing_and_another_is_refused() -> None:
    count = len(PeftType)
    compat.register(GPartConfig, GPartModel)
    assert len(PeftType) == count
    with pytest.raises(ImportError, match=r"gpart\.tuner\.config has already registered a method named GPART"):
        compat.register(LoraConfig, GPartModel)


@pytest.mark.parametrize("version", ["0.22.0", "0.22.0.dev0", "0.210.0", "1.0.0"])
def test_a_later_release_of_peft_gives_a_warning(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release.peft, "__version__", version)
    with pytest.warns(UserWarning, match=rf"version {version} is installed; gpart is tested with 0\.21\.\*"):
        release.check_release()


@pytest.mark.parametrize("version", ["0.20.1", "0.9.0", "0.3.0.dev0"])
def test_an_older_release_of_peft_is_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release.peft, "__version__", version)
    with pytest.raises(ImportError, match=rf"peft: version {version} is installed; accepted are 0\.21 and later"):
        release.check_release()


@pytest.mark.parametrize("version", ["0.21.2", "0.21.3.dev0", "0.21.0+local"])
def test_the_tested_release_of_peft_gives_no_warning(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release.peft, "__version__", version)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        release.check_release()


@pytest.mark.slow
def test_without_the_import_loading_fails_as_documented(tmp_path: Path) -> None:
    BERT.adapted_model().save_pretrained(str(tmp_path))
    code = f"{REPAIR}from peft import PeftConfig\nPeftConfig.from_pretrained({str(tmp_path)!r})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert "KeyError: 'GPART'" in run.stderr


REPAIR = """
import importlib.util, torch
if importlib.util.find_spec("torchvision") and "+cpu" in torch.__version__:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""

# Derivatives of a whole model


def test_torch_func_and_hessian_vector_products_go_through_a_model() -> None:
    model = BERT.adapted_model(d=6).double()
    theta = tuner(model).gpart_theta["default"].detach().clone()
    vector = torch.randn(6, dtype=torch.float64)

    def at(value: Tensor) -> Tensor:
        output = torch.func.functional_call(model, {"base_model.gpart_theta.default": value}, (), {"input_ids": INPUTS})
        result: Tensor = output.logits.square().mean()
        return result

    gradient = torch.func.grad(at)(theta)
    product = torch.func.jvp(torch.func.grad(at), (theta,), (vector,))[1]
    step = 1e-5
    numeric = (torch.func.grad(at)(theta + step * vector) - torch.func.grad(at)(theta - step * vector)) / (2 * step)
    torch.testing.assert_close(product, numeric, rtol=1e-6, atol=1e-10)
    torch.testing.assert_close(torch.func.jvp(at, (theta,), (vector,))[1], gradient @ vector, rtol=1e-10, atol=0)
    backward = torch.autograd.functional.hvp(at, theta, vector)[1]
    torch.testing.assert_close(product, backward, rtol=1e-8, atol=1e-12)


def test_layers_follow_the_mode_of_the_base() -> None:
    model = get_peft_model(BERT.new().eval(), BERT.config(dropout=0.5))
    layers = [m for m in model.modules() if isinstance(m, GPartLayer)]
    assert not any(layer.training for layer in layers)
    model.train()
    assert all(layer.training for layer in layers)


@pytest.mark.parametrize("name", ["gpart", "g", "part", "gpart_", "_"])
@pytest.mark.filterwarnings("ignore:Adapter name")
def test_names_contained_in_the_prefix_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"adapter_name: '{name}' is contained in 'gpart_'"):
        get_peft_model(ROBERTA.new(), ROBERTA.config(), adapter_name=name)


@pytest.mark.parametrize("name", ["half", "keys", "training", "a.b"])
def test_names_that_torch_cannot_hold_are_refused(name: str) -> None:
    model = ROBERTA.adapted_model()
    before = logits(model)
    with pytest.raises(ValueError, match=rf"adapter_name: '{name}' cannot be a name in torch's modules"):
        model.add_adapter(name, ROBERTA.config())
    assert list(model.peft_config) == ["default"]
    assert torch.equal(logits(model), before)


# What PEFT does not offer to a method with one vector for all layers, by design


def test_other_types_mixed_models_injection_and_peft_s_hotswap_are_refused() -> None:
    model = ROBERTA.adapted_model()
    with pytest.raises(ValueError, match="Cannot combine adapters with different peft types"):
        model.add_adapter("second", LoraConfig(target_modules=["query"], task_type="SEQ_CLS"))
    with pytest.raises(ValueError, match="GPART"):
        get_peft_model(ROBERTA.new(), ROBERTA.config(), mixed=True)
    with pytest.raises(ValueError, match=r"shared state stored on the tuner. Please use `get_peft_model`"):
        inject_adapter_in_model(ROBERTA.config(), ROBERTA.new())


def test_peft_s_own_hotswap_is_for_lora(tmp_path: Path) -> None:
    model = ROBERTA.adapted_model()
    model.save_pretrained(str(tmp_path))
    with pytest.raises(ValueError, match="Hotswapping only supports LORA but GPART was passed"):
        peft_hotswap_adapter(model, str(tmp_path), adapter_name="default", torch_device="cpu")


# Saving and loading


def test_auto_model_finds_base_and_method(tmp_path: Path) -> None:
    base = ROBERTA.new()
    base.save_pretrained(str(tmp_path / "base"))
    model = get_peft_model(type(base).from_pretrained(str(tmp_path / "base")).eval(), ROBERTA.config())
    randomise(model)
    model.save_pretrained(str(tmp_path / "adapter"))
    loaded = AutoPeftModelForSequenceClassification.from_pretrained(str(tmp_path / "adapter"), num_labels=3)
    assert torch.equal(logits(loaded.eval()), logits(model))


def test_trained_modules_are_saved_and_restored(tmp_path: Path) -> None:
    model = ROBERTA.adapted_model()
    head = model.base_model.model.classifier.modules_to_save["default"]
    with torch.no_grad():
        head.out_proj.weight.normal_()
    model.save_pretrained(str(tmp_path))
    assert torch.equal(logits(PeftModel.from_pretrained(ROBERTA.new(), str(tmp_path)).eval()), logits(model))


def test_the_state_dict_has_one_entry_of_ours() -> None:
    model = ROBERTA.adapted_model()
    assert [key for key in model.state_dict() if "gpart" in key] == ["base_model.gpart_theta.default"]
    ours = {key for key in get_peft_model_state_dict(model) if "classifier" not in key}
    assert ours == {"base_model.gpart_theta", "base_model.gpart_partition"}
    other = ROBERTA.adapted_model()
    randomise(other, seed=99)
    other.load_state_dict(model.state_dict())
    assert torch.equal(logits(other), logits(model))


def test_a_plan_on_the_meta_device_counts_without_weights() -> None:
    with torch.device("meta"):
        base = ROBERTA.build()
    model = get_peft_model(base, ROBERTA.config(), low_cpu_mem_usage=True)
    assert tuner(model).gpart_theta["default"].shape == (24,)
    assert tuner(model).partition().n == 4 * 16 * 16
    assert tuner(model).partition().dead == 0
    with torch.device("meta"):
        base = ROBERTA.build()
    with pytest.raises(ValueError, match=r"d: 2000 exceeds the N=1024 adapted weights; accepted are 1 to 1024"):
        get_peft_model(base, ROBERTA.config(d=2000), low_cpu_mem_usage=True)


# The configuration


def test_the_configuration_survives_copies_json_and_reuse(tmp_path: Path) -> None:
    config = ROBERTA.config(exclude_modules=["layer.0.attention.self.value"], dropout=0.1)
    model = get_peft_model(ROBERTA.new(), config)
    assert config.partition is None
    assert tuner(model).partition().n == 3 * 256
    own = model.peft_config["default"]
    for value in (config, own, copy.deepcopy(own), copy.copy(own)):
        stored = json.loads(json.dumps(value.to_dict()))
        assert stored["target_modules"] == ["query", "value"]
        assert GPartConfig.from_peft_type(**stored) == value
    own.save_pretrained(str(tmp_path))
    assert PeftConfig.from_pretrained(str(tmp_path)) == own
    other = get_peft_model(BERT.new(), config)
    assert tuner(other).partition().layers[0].name.startswith("bert.")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d": 0}, "d: 0; accepted"),
        ({"d": 2.5}, "d: 2.5; accepted"),
        ({"d": None}, "d: None; accepted"),
        ({"seed": "x"}, "seed: 'x'; accepted"),
        ({"scheme": "x"}, "scheme: 'x' is unknown"),
        ({"scope": "x"}, "scope: 'x'; accepted are 'global', 'transformer_block'"),
        ({"dropout": 1.0}, "dropout: 1.0; accepted"),
        ({"dropout": -0.1}, "dropout: -0.1; accepted"),
        ({"bias": True}, "bias: True; accepted are 'none', 'all', 'gpart_only'"),
        ({"target_modules": "x", "layers_to_transform": [0]}, "layers_to_transform: .0.; accepted"),
        ({"layers_pattern": "layer"}, "layers_pattern: 'layer'; accepted"),
        ({"task_type": "X"}, "Invalid task type: 'X'"),
        ({"scheme": "iid", "cache_ids": False}, "cache_ids: False"),
    ],
)
def test_bad_values_of_the_configuration_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ROBERTA.config(**changes)


def test_targets_in_every_form() -> None:
    def names(**changes: Any) -> list[str]:
        model = get_peft_model(ROBERTA.new(), ROBERTA.config(**changes))
        return [layer.name.removeprefix("roberta.encoder.layer.") for layer in tuner(model).partition().layers]

    query, value = "attention.self.query", "attention.self.value"
    both = [f"0.{query}", f"0.{value}", f"1.{query}", f"1.{value}"]
    assert names(target_modules=["value", "query"]) == both
    assert names(target_modules=None) == both
    assert names(target_modules=rf".*\.1\.{query}") == [f"1.{query}"]
    assert names(layers_to_transform=[1]) == [f"1.{query}", f"1.{value}"]
    assert names(layers_to_transform=0, layers_pattern="layer") == [f"0.{query}", f"0.{value}"]
    assert len(names(target_modules="all-linear")) == 2 * 6


def test_targets_that_cannot_be_adapted_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Target module LayerNorm.* is not supported"):
        get_peft_model(ROBERTA.new(), ROBERTA.config(target_modules=["LayerNorm"]))
    with pytest.raises(ValueError, match="not found in the base model"):
        get_peft_model(ROBERTA.new(), ROBERTA.config(target_modules=["nothing"], task_type=None))


def test_dead_coordinates_are_warned_of_when_the_adapter_is_made() -> None:
    with pytest.warns(UserWarning, match="of d=900 coordinates reach none of the N=1024 adapted weights"):
        get_peft_model(ROBERTA.new(), ROBERTA.config(d=900))


def test_a_vector_may_begin_at_random() -> None:
    base = ROBERTA.new()
    torch.manual_seed(3)
    first = tuner(get_peft_model(base, ROBERTA.config(init_weights=False, task_type=None))).gpart_theta["default"]
    torch.manual_seed(3)
    assert torch.equal(first, torch.randn(24))
    assert not tuner(get_peft_model(ROBERTA.new(), ROBERTA.config())).gpart_theta["default"].any()


def test_tokens_train_beside_the_vector(tmp_path: Path) -> None:
    llama = SMALL["llama"]
    model = llama.adapted_model(trainable_token_indices=[3, 4, 10], keep_base=True)
    plain = logits(llama.new())
    with torch.no_grad():
        model.get_base_model().model.embed_tokens.token_adapter.trainable_tokens_delta["default"].normal_()
    trained, weights = logits(model), bits(model)
    assert not torch.equal(trained, logits(llama.adapted_model()))
    model.save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(llama.new(), str(tmp_path)).eval()
    assert torch.equal(logits(loaded), trained)
    hotswap_adapter(loaded, tmp_path)
    assert torch.equal(logits(loaded), trained)
    with model.disable_adapter():
        assert torch.equal(logits(model), plain)
    model.merge_adapter()
    assert torch.equal(logits(model), trained)
    model.unmerge_adapter()
    torch.testing.assert_close(bits(model), weights, rtol=0, atol=1e-6)
    assert not any(getattr(module, "merged", False) is True for module in model.modules())
    assert torch.equal(logits(model.merge_and_unload()), trained)


def test_attributes_of_the_base_are_reached_through_the_model() -> None:
    llama: Any = SMALL["llama"].new().model
    model: Any = get_peft_model(llama, SMALL["llama"].config(task_type=None))
    for name in ("layers", "norm", "config", "embed_tokens"):
        assert getattr(model.base_model, name) is getattr(model, name) is getattr(llama, name)
