"""Small random models of four shapes: BERT, RoBERTa, GPT-2 (Conv1D) and Llama."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from gpart import GPartConfig, GPartModel

ENCODER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 60,
    "num_labels": 3,
    "attn_implementation": "eager",
}
DECODER = {"vocab_size": 60, "bos_token_id": 0, "eos_token_id": 1, "attn_implementation": "eager"}


@dataclass(frozen=True)
class Small:
    """How to build one, and where to adapt it."""

    build: Callable[[], nn.Module]
    targets: list[str]
    task_type: str

    def new(self) -> nn.Module:
        """The model, with the same weights each time."""
        torch.manual_seed(0)
        return self.build().eval()

    def config(self, **changes: Any) -> GPartConfig:
        """A configuration that fits the model."""
        return GPartConfig(**{"d": 24, "target_modules": list(self.targets), "task_type": self.task_type, **changes})

    def adapted_model(self, **changes: Any) -> PeftModel:
        """The model with a GPart adapter whose vector is not zero, in eval mode."""
        model = get_peft_model(self.new(), self.config(**changes)).eval()
        randomise(model)
        return model


SMALL = {
    "bert": Small(lambda: BertForSequenceClassification(BertConfig(**ENCODER)), ["query", "value"], "SEQ_CLS"),
    "roberta": Small(lambda: RobertaForSequenceClassification(RobertaConfig(**ENCODER)), ["query", "value"], "SEQ_CLS"),
    "gpt2": Small(
        lambda: GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=32, **DECODER)),
        ["c_attn"],
        "CAUSAL_LM",
    ),
    "llama": Small(
        lambda: LlamaForCausalLM(
            LlamaConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, **DECODER)
        ),
        ["q_proj", "v_proj"],
        "CAUSAL_LM",
    ),
}
INPUTS = torch.randint(3, 50, (4, 6), generator=torch.Generator().manual_seed(7))


def randomise(model: nn.Module, adapter: str = "default", seed: int = 3) -> None:
    """Give an adapter a vector that is not zero, and matters."""
    theta = tuner(model).gpart_theta[adapter]
    with torch.no_grad():
        theta.copy_(torch.randn(theta.shape, generator=torch.Generator().manual_seed(seed)))


def tuner(model: nn.Module) -> GPartModel:
    """The GPartModel inside a PeftModel."""
    found: Any = model.base_model
    assert isinstance(found, GPartModel)
    return found


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    """Output on INPUTS."""
    result: Tensor = model(input_ids=INPUTS).logits
    return result
