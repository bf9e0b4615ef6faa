"""What conf/backbone says of the suite's own backbones is what is pretrained."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from transformers import AutoConfig

from experiments.configuration.overrides import CONF
from experiments.embedded import causal, pretraining, vision
from experiments.families import FAMILIES, sections_of

RECIPES: dict[str, Any] = {
    "embedded-encoder": pretraining.RECIPE,
    "embedded-vit": vision.RECIPE,
    "embedded-causal": causal.RECIPE,
}


def configured(name: str) -> Any:
    return yaml.safe_load((CONF / "backbone" / f"{name}.yaml").read_text(encoding="utf-8"))["architecture"]


@pytest.mark.parametrize("name", RECIPES)
def test_the_configured_shapes_are_those_that_are_pretrained(name: str) -> None:
    pretrained, written = RECIPES[name]["architecture"], configured(name)
    shared = pretrained.keys() & written.keys()
    assert shared >= {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"}
    assert {key: pretrained[key] for key in shared} == {key: written[key] for key in shared}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_the_pretrained_model_has_the_configured_shapes(name: str) -> None:
    (folder,) = (of.embedded_folder() for of in map(sections_of, FAMILIES) if of.embedded_backbone == name)
    config = AutoConfig.from_pretrained(folder)
    assert {key: getattr(config, key) for key in configured(name)} == configured(name)


def test_every_family_brings_a_backbone_with_an_identity_of_its_own() -> None:
    families = [sections_of(name) for name in FAMILIES]
    assert {of.embedded_backbone for of in families} == set(RECIPES)
    assert len({of.embedded_recipe() for of in families}) == len(FAMILIES)
