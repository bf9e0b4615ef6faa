"""Backbones: pretrained encoders from the hub, a folder or the suite itself, with a new task head on top."""

from __future__ import annotations

import gpart  # noqa: F401  repairs torchvision before transformers is imported

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import logging as transformers_logging

from experiments import embedded, hub
from experiments.identity import file_digest

Backbone = Mapping[str, Any]


class PooledClassifier(PreTrainedModel):
    """A linear head on the pooled last hidden states of an encoder.

    `mean` averages over the tokens that are not padding, as sentence encoders are trained (Reimers and Gurevych 2019,
    section 3); `cls` takes the first token.

    Args:
        config: the encoder's configuration; `num_labels` and `problem_type` are read from it.
        encoder: the encoder, returning `last_hidden_state` of shape (batch, length, hidden).
        pooling: "mean" or "cls".
    """

    base_model_prefix = "encoder"
    # The attention is the encoder's, which has made its own choice when it gets here.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: PretrainedConfig, encoder: nn.Module, pooling: str) -> None:
        super().__init__(config)
        self.encoder = encoder
        self.pooling = pooling
        self.dropout = nn.Dropout(getattr(config, "hidden_dropout_prob", 0.0))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        nn.init.normal_(self.classifier.weight, std=getattr(config, "initializer_range", 0.02))
        nn.init.zeros_(self.classifier.bias)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None, **inputs: Any
    ) -> SequenceClassifierOutput:
        """Logits (batch, num_labels) and, given labels (batch,), the mean loss."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **inputs).last_hidden_state
        if self.pooling == "mean":
            mask = attention_mask.unsqueeze(-1).to(states.dtype)
            pooled = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        else:
            pooled = states[:, 0]
        logits = self.classifier(self.dropout(pooled))
        return SequenceClassifierOutput(loss=None if labels is None else self._loss(logits, labels), logits=logits)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.config.problem_type == "regression":
            return nn.functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
        return nn.functional.cross_entropy(logits, labels)


def reference(backbone: Backbone) -> dict[str, Any]:
    """What the weights are, for a run's identity.

    Returns:
        hub: name and revision; local: sha256 of the weight files; embedded: the hash of the pretraining recipe.
    """
    if backbone["source"] == "hub":
        return {"hub": backbone["hub"], "revision": backbone["revision"]}
    if backbone["source"] == "embedded":
        return {"pretraining": embedded.recipe_hash()}
    return {"sha256": {path.name: file_digest(path) for path in _weight_files(Path(backbone["path"]))}}


def check(backbone: Backbone) -> list[str]:
    """One line for everything about a local folder that would make loading fail; reads no weights."""
    if backbone["source"] != "local":
        return []
    folder = Path(backbone["path"])
    accepted = "accepted: a folder with config.json, tokenizer files and *.safetensors weights"
    if not folder.is_dir():
        return [f"backbone.path={folder}: no such folder; {accepted}"]
    errors = []
    if not (folder / "config.json").is_file():
        errors.append(f"backbone.path={folder}: no config.json in it; {accepted}")
    if not list(folder.glob("tokenizer*")):
        errors.append(f"backbone.path={folder}: no tokenizer files in it; {accepted}")
    weights = _weight_files(folder)
    if not weights:
        errors.append(f"backbone.path={folder}: no weights in it; {accepted}")
    for path in weights:
        try:
            with safe_open(path, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            errors.append(f"backbone.path={folder}: {path.name} is damaged ({error}); {accepted}")
    return errors


def _weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def meta(backbone: Backbone, task: Mapping[str, Any]) -> PreTrainedModel:
    """The model on the meta device: all shapes and names, no memory and, where the YAML gives them, no download."""
    config = _labelled(_config(backbone), task)
    with torch.device("meta"):
        if backbone["pooling"] == "model":
            return AutoModelForSequenceClassification.from_config(config)
        return PooledClassifier(config, AutoModel.from_config(config, **_without_pooler(config)), backbone["pooling"])


def load(backbone: Backbone, task: Mapping[str, Any], head_seed: int) -> PreTrainedModel:
    """The pretrained backbone in float32 with a new head.

    Args:
        backbone: the `backbone` section of a run's configuration.
        task: the `task` section; its classes (None: regression) give the head's size.
        head_seed: the seed of the head's initial values; the caller's random state is left as it was.
    """
    source, options = _location(backbone)
    with torch.random.fork_rng(), _quiet():
        torch.manual_seed(head_seed)
        config = _labelled(AutoConfig.from_pretrained(source, **options), task)
        if backbone["pooling"] == "model":
            return AutoModelForSequenceClassification.from_pretrained(
                source, config=config, dtype=torch.float32, **options
            )
        encoder = AutoModel.from_pretrained(
            source, config=config, dtype=torch.float32, **_without_pooler(config), **options
        )
        return PooledClassifier(config, encoder, backbone["pooling"])


def tokenizer(backbone: Backbone) -> PreTrainedTokenizerBase:
    """The backbone's own tokenizer."""
    source, options = _location(backbone)
    return AutoTokenizer.from_pretrained(source, **options)


def _location(backbone: Backbone) -> tuple[str, dict[str, Any]]:
    if backbone["source"] == "embedded":
        return str(embedded.encoder_folder()), {}
    if backbone["source"] == "local":
        return str(backbone["path"]), {}
    cached = hub.cached_folder(hub.model(backbone))
    # By its folder: by its name transformers would ask the hub even for what is cached.
    return (str(cached), {}) if cached else (backbone["hub"], {"revision": backbone["revision"]})


def _config(backbone: Backbone) -> PretrainedConfig:
    if backbone["source"] == "local":
        return AutoConfig.from_pretrained(backbone["path"])
    if backbone["architecture"]:
        return AutoConfig.for_model(**backbone["architecture"])
    source, options = _location(backbone)
    return AutoConfig.from_pretrained(source, **options)


def _labelled(config: PretrainedConfig, task: Mapping[str, Any]) -> PretrainedConfig:
    classes = task["classes"]
    config.num_labels = len(classes) if classes else 1
    config.problem_type = "single_label_classification" if classes else "regression"
    return config


def _without_pooler(config: PretrainedConfig) -> dict[str, bool]:
    """BERT's kind builds a pooler that pooled states do not use; leave it out where the class lets us."""
    architecture = AutoModel._model_mapping[type(config)]
    accepts = "add_pooling_layer" in inspect.signature(architecture.__init__).parameters
    return {"add_pooling_layer": False} if accepts else {}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the report that the head is new and the pretraining head unused: both are meant."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
