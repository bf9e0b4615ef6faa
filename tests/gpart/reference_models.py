"""The models of reference.json. Their weights come from torch's generator alone, not from a library's own draws."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel


def bert() -> nn.Module:
    """Three blocks; query and value are adapted: six layers."""
    shape = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    return BertForSequenceClassification(BertConfig(vocab_size=100, num_labels=3, **shape))


def gpt2() -> nn.Module:
    """Three blocks, whose Conv1D stores weights as (in, out)."""
    special = {"bos_token_id": 0, "eos_token_id": 1}
    return GPT2LMHeadModel(GPT2Config(n_embd=48, n_layer=3, n_head=4, vocab_size=100, n_positions=32, **special))


MODELS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "bert": (bert, ["query", "value"]),
    "gpt2": (gpt2, ["c_attn"]),
}
INPUTS = torch.randint(3, 100, (4, 12), generator=torch.Generator().manual_seed(1))


def fill(model: nn.Module) -> None:
    """Give every parameter normal values of standard deviation 0.2, one seeded draw after the other."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))


def theta() -> Tensor:
    """The vector of every case, (100,)."""
    return 2 * torch.randn(100, generator=torch.Generator().manual_seed(2))
