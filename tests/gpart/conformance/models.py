"""The models of the suite as data: one of each supported layer, and four shapes of transformer, all tiny and random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
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
    ViTConfig,
    ViTForImageClassification,
)
from transformers.pytorch_utils import Conv1D

from gpart import GPartConfig, GPartLayer
from gpart.partition.schemes import SCHEMES
from gpart.partition.scopes import SCOPES
from tests.gpart.small_models import randomise, tuner

D = 24
GENERATOR = torch.Generator().manual_seed(7)
ROWS = torch.randn(9, 10, generator=GENERATOR)
WAVES = torch.randn(4, 4, 37, generator=torch.Generator().manual_seed(8))
IMAGES = torch.randn(4, 4, 7, 6, generator=GENERATOR)
PICTURES = torch.randn(4, 3, 8, 8, generator=GENERATOR)
IDS = torch.randint(3, 50, (4, 6), generator=GENERATOR)

ENCODER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
DECODER = {"vocab_size": 60, "bos_token_id": 0, "eos_token_id": 1, "attn_implementation": "eager"}
# The weights of a new transformer are so small that rounding is all that is left of some differences.
STRONG = {"initializer_range": 0.2}


class Layers(nn.Module):
    """A stack of layers, with a head called `head`."""

    def __init__(self, head: nn.Module, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.order = list(layers)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        for name in self.order:
            x = getattr(self, name)(x).tanh()
        result: Tensor = self.head(x.flatten(1))
        return result


def mlp() -> nn.Module:
    return Layers(nn.Linear(6, 3), first=nn.Linear(10, 20), second=nn.Linear(20, 6, bias=False))


def conv1d() -> nn.Module:
    return Layers(nn.Linear(8, 3), first=Conv1D(12, 10), second=Conv1D(8, 12))


def conv2d() -> nn.Module:
    strided = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), groups=2)
    same = nn.Conv2d(6, 4, 3, padding="same", padding_mode="circular", bias=False)
    return Layers(nn.Linear(144, 3), strided=strided, same=same)


def conv1d_and_conv3d() -> nn.Module:
    wave = nn.Conv1d(4, 6, 3, stride=2, padding=2, groups=2)
    volume = nn.Conv3d(6, 4, (1, 2, 3), padding="same", padding_mode="replicate", bias=False)
    return Layers(nn.Linear(80, 3), wave=wave, space=nn.Unflatten(2, (2, 5, 2)), volume=volume)


def embedding() -> nn.Module:
    return Layers(nn.Linear(30, 3), words=nn.Embedding(60, 5, padding_idx=2))


@dataclass(frozen=True)
class Model:
    """One of the suite's models.

    Attributes:
        name: in the listing.
        build: makes it.
        targets: the modules to adapt.
        head: the module to train beside the adapter.
        inputs: of the forward.
    """

    name: str
    build: Callable[[], nn.Module]
    targets: tuple[str, ...]
    head: str
    inputs: dict[str, Tensor]

    @property
    def is_transformer(self) -> bool:
        """Whether it has numbered blocks."""
        return self.head in ("classifier", "lm_head")

    def new(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        """The model, with the same weights each time."""
        torch.manual_seed(0)
        return self.build().to(dtype).eval()

    def adapted(self, dtype: torch.dtype = torch.float32, vector: int | None = 3, **changes: Any) -> PeftModel:
        """The model with an adapter, in eval mode.

        Args:
            dtype: of the base.
            vector: seed of its values; None leaves zeros.
            changes: of the configuration.
        """
        model = get_peft_model(self.new(dtype), self.config(**changes)).eval()
        if vector is not None:
            randomise(model, seed=vector)
        return model

    def config(self, **changes: Any) -> GPartConfig:
        """A configuration that fits the model."""
        return GPartConfig(**{"d": D, "target_modules": list(self.targets), **changes})

    def output(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> Tensor:
        """The logits of the suite's inputs."""
        inputs = {name: x.to(dtype) if x.is_floating_point() else x for name, x in self.inputs.items()}
        found: Any = model(**inputs)
        result: Tensor = found if isinstance(found, Tensor) else found.logits
        return result


def _bert() -> nn.Module:
    return BertForSequenceClassification(BertConfig(**ENCODER, **STRONG, vocab_size=60, num_labels=3))


def _vit() -> nn.Module:
    return ViTForImageClassification(ViTConfig(**ENCODER, **STRONG, image_size=8, patch_size=4, num_labels=3))


def _gpt2() -> nn.Module:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    return GPT2LMHeadModel(GPT2Config(**sizes, **STRONG, **DECODER, tie_word_embeddings=False))


def _llama() -> nn.Module:
    return LlamaForCausalLM(LlamaConfig(**ENCODER, **STRONG, **DECODER))


MODELS = (
    Model("mlp", mlp, ("first", "second"), "head", {"x": ROWS}),
    Model("conv1d", conv1d, ("first", "second"), "head", {"x": ROWS}),
    Model("conv2d", conv2d, ("strided", "same"), "head", {"x": IMAGES}),
    Model("conv1d-conv3d", conv1d_and_conv3d, ("wave", "volume"), "head", {"x": WAVES}),
    Model("embedding", embedding, ("words",), "head", {"x": IDS}),
    Model("bert", _bert, ("query", "value"), "classifier", {"input_ids": IDS}),
    Model("vit", _vit, ("q_proj", "v_proj"), "classifier", {"pixel_values": PICTURES}),
    Model("gpt2", _gpt2, ("c_attn",), "lm_head", {"input_ids": IDS}),
    Model("llama", _llama, ("q_proj", "v_proj"), "lm_head", {"input_ids": IDS}),
)
TRANSFORMERS = tuple(model for model in MODELS if model.is_transformer)

#: Every model with every scheme, every transformer with every scheme in blocks too, and once with biases: what a
#: test of the algebra asks.
VARIANTS = [
    pytest.param(
        model, {"scheme": scheme, "scope": scope}, id=f"{model.name}-{scheme}{'-blocks' * (scope != 'global')}"
    )
    for model in MODELS
    for scheme in SCHEMES
    for scope in SCOPES
    if scope == "global" or model.is_transformer
] + [
    pytest.param(model, {"bias": "all"}, id=f"{model.name}-hash-bias") for model in MODELS if model.name != "embedding"
]
EACH_VARIANT = pytest.mark.parametrize(("model", "variant"), VARIANTS)
#: Every model with the default scheme: what a test of the plumbing asks.
EACH_MODEL = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
EACH_TRANSFORMER = pytest.mark.parametrize("model", TRANSFORMERS, ids=lambda model: model.name)
EACH_SCHEME = pytest.mark.parametrize("scheme", SCHEMES)


def theta(model: nn.Module, adapter: str = "default") -> nn.Parameter:
    """The vector of an adapter."""
    found: nn.Parameter = tuner(model).gpart_theta[adapter]
    return found


def layers(model: nn.Module) -> list[GPartLayer]:
    """The adapted layers, in the order of the partition."""
    return [module for module in model.modules() if isinstance(module, GPartLayer)]


def bits(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, by the names that they have without an adapter around them."""
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        name.removeprefix("base_model.model.").replace(".base_layer.", "."): value.detach().clone()
        for name, value in state.items()
    }


def same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two models, or two moments of one, agree in every parameter and buffer."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
