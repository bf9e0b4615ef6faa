"""What transformers can do with an adapter by itself, and what it leaves to PEFT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, get_peft_model
from safetensors import safe_open
from torch import nn
from transformers import AutoModelForCausalLM, pipeline

from gpart import GPartConfig
from tests.gpart.small_models import SMALL, logits, tuner

LLAMA = SMALL["llama"]
EAGER = {"attn_implementation": "eager"}  # the small models', not written to their configuration


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders `base`, a language model, and `adapter`, which is made for it."""
    root = tmp_path_factory.mktemp("libraries")
    base = LLAMA.new()
    base.save_pretrained(root / "base")
    model = LLAMA.adapted_model()
    model.peft_config["default"].base_model_name_or_path = str(root / "base")
    model.save_pretrained(root / "adapter")
    return root


def base(folder: Path) -> nn.Module:
    model: nn.Module = AutoModelForCausalLM.from_pretrained(folder / "base", **EAGER)
    return model


OWN: dict[str, Callable[[Path], object]] = {
    "from_pretrained": lambda folder: AutoModelForCausalLM.from_pretrained(folder / "adapter"),
    "pipeline": lambda folder: pipeline("text-generation", model=str(folder / "adapter")),
    "load_adapter": lambda folder: base(folder).load_adapter(str(folder / "adapter")),
    "add_adapter": lambda folder: base(folder).add_adapter(LLAMA.config()),
}


@pytest.mark.parametrize("loading", OWN.values(), ids=OWN)
def test_transformers_own_adapters_are_refused_by_peft_and_never_lost_in_silence(
    loading: Callable[[Path], object], folder: Path
) -> None:
    # transformers 5.24's own add_adapter asks for a later PEFT first.
    refusal = r"GPART because it uses shared state stored on the tuner.*get_peft_model|use a version >= 0\.22"
    with pytest.raises(ValueError, match=refusal):
        loading(folder)


def test_an_adapter_s_folder_is_loaded_with_its_base_and_merges_to_a_folder_for_transformers(
    folder: Path, tmp_path: Path
) -> None:
    model = AutoPeftModelForCausalLM.from_pretrained(folder / "adapter", **EAGER)
    expected = logits(LLAMA.adapted_model())
    assert not torch.equal(logits(base(folder)), expected)
    assert torch.equal(logits(model), expected)
    assert torch.equal(logits(model.get_base_model()), expected)
    model.merge_and_unload().save_pretrained(tmp_path)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path, **EAGER)), expected)


def test_safetensors_reads_an_adapter_without_gpart(folder: Path) -> None:
    with safe_open(folder / "adapter" / "adapter_model.safetensors", "pt") as file:
        assert set(file.keys()) == {"base_model.gpart_theta", "base_model.gpart_partition"}
        vector = file.get_tensor("base_model.gpart_theta")
    assert torch.equal(vector, tuner(LLAMA.adapted_model()).gpart_theta["default"])


@pytest.mark.parametrize("name", SMALL)
def test_no_module_of_the_base_is_hidden_by_the_tuner(name: str) -> None:
    model = SMALL[name].new()
    body = getattr(model, str(getattr(model, "base_model_prefix", "")))
    adapted = get_peft_model(body, GPartConfig(d=24, target_modules=SMALL[name].targets))
    children = dict(body.named_children())
    assert children
    for child, module in children.items():
        assert getattr(adapted, child) is module
