"""Tiny random backbones, one per shape of head, and the methods to adapt them with."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from peft import LoraConfig, UniLoraConfig, VeraConfig
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from baselines import BitFit, FullFineTuning, HeadOnly
from gpart import GPartConfig

HIDDEN, INNER, LAYERS, CLASSES = 16, 32, 2, 3
SHAPE = {
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "num_labels": CLASSES,
}


class MeanPooled(PreTrainedModel):
    """A headless encoder under a linear head."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.encoder = BertModel(config, add_pooling_layer=False)
        self.classifier = nn.Linear(HIDDEN, CLASSES)

    def forward(self, input_ids: Tensor) -> SequenceClassifierOutput:
        states = self.encoder(input_ids=input_ids).last_hidden_state
        return SequenceClassifierOutput(logits=self.classifier(states.mean(1)))


@dataclass(frozen=True)
class Backbone:
    """How to build one, what to feed it, and its facts counted by hand."""

    build: Callable[[], nn.Module]
    targets: list[str]
    head: list[str]
    head_size: int
    biases: int

    def new(self, weights: int = 0, head: int = 1) -> nn.Module:
        """The backbone from seed `weights`, its head from seed `head`."""
        torch.manual_seed(weights)
        model = self.build().eval()
        torch.manual_seed(head)
        for name in self.head:
            for parameter in model.get_submodule(name).parameters():
                nn.init.normal_(parameter)
        return model

    def inputs(self) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(7)
        if "pixel_values" in inspect.signature(self.build().forward).parameters:
            return {"pixel_values": torch.randn(4, 3, 8, 8, generator=generator)}
        return {"input_ids": torch.randint(3, 50, (4, 6), generator=generator)}


# Per layer: q, k, v, output, second feed-forward matrix and two layer norms of HIDDEN, first feed-forward of INNER.
LAYER_BIASES = 7 * HIDDEN + INNER
LINEAR_HEAD = HIDDEN * CLASSES + CLASSES
DENSE = HIDDEN * HIDDEN + HIDDEN

BACKBONES = {
    "bert": Backbone(
        lambda: BertForSequenceClassification(BertConfig(vocab_size=50, **SHAPE)),
        ["query", "value"],
        ["classifier"],
        LINEAR_HEAD,
        LAYERS * LAYER_BIASES + HIDDEN + HIDDEN,  # embedding layer norm, pooler
    ),
    "roberta": Backbone(
        lambda: RobertaForSequenceClassification(RobertaConfig(vocab_size=50, max_position_embeddings=40, **SHAPE)),
        ["query", "value"],
        ["classifier"],
        DENSE + LINEAR_HEAD,
        LAYERS * LAYER_BIASES + HIDDEN,
    ),
    "mean_pooled": Backbone(
        lambda: MeanPooled(BertConfig(vocab_size=50, **SHAPE)),
        ["query", "value"],
        ["classifier"],
        LINEAR_HEAD,
        LAYERS * LAYER_BIASES + HIDDEN,
    ),
    "distilbert": Backbone(
        lambda: DistilBertForSequenceClassification(
            DistilBertConfig(
                vocab_size=50, dim=HIDDEN, hidden_dim=INNER, n_layers=LAYERS, n_heads=2, num_labels=CLASSES
            )
        ),
        ["q_lin", "v_lin"],
        ["pre_classifier", "classifier"],
        DENSE + LINEAR_HEAD,
        LAYERS * LAYER_BIASES + HIDDEN,
    ),
    "vit": Backbone(
        lambda: ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, **SHAPE)),
        ["q_proj", "v_proj"],
        ["classifier"],
        LINEAR_HEAD,
        LAYERS * LAYER_BIASES + HIDDEN + HIDDEN,  # patch embedding, final layer norm
    ),
}

METHODS: dict[str, Callable[[list[str]], object]] = {
    "gpart": lambda targets: GPartConfig(d=24, seed=3, target_modules=targets),
    "lora": lambda targets: LoraConfig(r=2, lora_alpha=4, target_modules=targets),
    "unilora": lambda targets: UniLoraConfig(
        r=4, theta_d_length=24, proj_seed=3, init_theta_d_bound=0.5, target_modules=targets
    ),
    "vera": lambda targets: VeraConfig(r=4, projection_prng_key=3, d_initial=0.5, target_modules=targets),
    "full": lambda targets: FullFineTuning(),
    "bitfit": lambda targets: BitFit(),
    "head": lambda targets: HeadOnly(),
}
MERGEABLE = ("gpart", "lora", "unilora", "vera")
ADAPTED_WEIGHTS = LAYERS * 2 * HIDDEN * HIDDEN
