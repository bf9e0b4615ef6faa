from __future__ import annotations

import pytest
import yaml
from transformers import AutoConfig

from experiments.embedded import encoder_folder
from experiments.embedded.pretraining import RECIPE
from experiments.overrides import CONF


def test_the_configured_shapes_are_those_that_are_pretrained() -> None:
    backbone = yaml.safe_load((CONF / "backbone" / "embedded-encoder.yaml").read_text(encoding="utf-8"))
    architecture = backbone["architecture"]
    shared = RECIPE["architecture"].keys() & architecture.keys()
    assert shared >= {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"}
    assert {key: RECIPE["architecture"][key] for key in shared} == {key: architecture[key] for key in shared}


@pytest.mark.slow
def test_the_pretrained_encoder_has_the_configured_vocabulary() -> None:
    backbone = yaml.safe_load((CONF / "backbone" / "embedded-encoder.yaml").read_text(encoding="utf-8"))
    assert AutoConfig.from_pretrained(encoder_folder()).vocab_size == backbone["architecture"]["vocab_size"]
