"""A tiny encoder under any method, with a path of values that stands for training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft import FourierFTConfig, LoraConfig, UniLoraConfig, VeraConfig
from torch import Tensor
from torch.func import jacrev
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)

from baselines import Adapted, BitFit, FullFineTuning, adapt
from experiments.diagnostics.snapshots import Snapshot, Snapshots
from experiments.diagnostics.weight_map import WeightMap
from gpart import GPartConfig
from schema.sections import Diagnostics as Options

HIDDEN, INNER = 8, 12
TARGETS = ["query", "intermediate.dense"]  # (8, 8) and (12, 8), in each of two layers
WEIGHTS = 2 * (HIDDEN * HIDDEN + INNER * HIDDEN)
OPTIONS = Options(
    name="isometry",
    measures=["isometry"],
    seed=0,
    snapshots=4,
    pairs=20,
    dense_limit=4096,
    spectrum=4,
    rows=20,
    eigenvalues=2,
    grid=5,
    directions=3,
    extent=1.0,
)

METHODS: dict[str, Callable[[], Any]] = {
    "gpart": lambda: GPartConfig(d=24, seed=3, target_modules=TARGETS),
    "gpart, not isometric": lambda: GPartConfig(d=24, seed=3, isometric=False, target_modules=TARGETS),
    "lora": lambda: LoraConfig(r=2, lora_alpha=6, target_modules=TARGETS),
    "unilora": lambda: UniLoraConfig(r=2, theta_d_length=20, init_theta_d_bound=0.5, target_modules=TARGETS),
    "vera": lambda: VeraConfig(r=3, target_modules=TARGETS),
    "fourierft": lambda: FourierFTConfig(n_frequency=9, target_modules=TARGETS),
    "bitfit": BitFit,
    "full": FullFineTuning,
}


def adapted_to(config: Any) -> Adapted:
    """A BERT of two layers, always the same."""
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=20,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        num_labels=2,
    )
    return adapt(BertForSequenceClassification(shape).eval(), config, head=["classifier"], init_seed=1)


def gpt2_adapted_to(config: Any) -> Adapted:
    """A GPT-2 of two layers, whose dense layers are `Conv1D`."""
    torch.manual_seed(0)
    shape = GPT2Config(vocab_size=20, n_positions=16, n_embd=HIDDEN, n_layer=2, n_head=2, num_labels=2)
    return adapt(GPT2ForSequenceClassification(shape).eval(), config, head=["score"], init_seed=1)


def walked(adapted: Adapted, steps: int = 3, size: float = 0.1) -> Snapshots:
    """Random steps of all trained values, with a snapshot before the first and after each; the last ones are kept."""
    snapshots = Snapshots(adapted, steps + 1)
    generator = torch.Generator().manual_seed(5)
    for step in range(steps + 1):
        values = {name: p.detach().clone() for name, p in adapted.adapter_parameters()}
        snapshots.taken.append(Snapshot(step, step / 2, values))
        if step < steps:
            with torch.no_grad():
                for _, parameter in adapted.adapter_parameters():
                    parameter += size * torch.randn(parameter.shape, generator=generator)
    return snapshots


def values_of(weight_map: WeightMap, adapted: Adapted) -> Tensor:
    return weight_map.flat(dict(adapted.adapter_parameters()))


def dense_jacobian(weight_map: WeightMap, values: Tensor) -> Tensor:
    """All of J, (N, n), by reverse-mode differentiation of the whole map."""

    def changes(point: Tensor) -> Tensor:
        pieces = weight_map.pieces(point)
        return torch.cat([weight_map.change(pieces, weight).reshape(-1) for weight in weight_map.weights])

    jacobian: Tensor = jacrev(changes)(values)
    return jacobian
