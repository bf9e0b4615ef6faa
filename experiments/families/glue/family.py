"""GLUE: sentences and pairs of sentences, an encoder with a new head."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import Any

import datasets
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from experiments.data import weights as backbones
from experiments.families.classification import Classification
from experiments.families.family import Examples, TrainerOptions
from experiments.families.glue.pooled import PooledClassifier


class Glue(Classification):
    """A run on a task of GLUE."""

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The backbone's own tokenizer."""
        source, options = backbones.location(self.backbone)
        return AutoTokenizer.from_pretrained(source, **options)

    def meta(self) -> PreTrainedModel:
        """See `Family.meta`."""
        config, pooling = self._labelled(backbones.config(self.backbone)), self.backbone["pooling"]
        backbones.require_positions(config, self.backbone["max_length"])
        with torch.device("meta"):
            if pooling == "model":
                return AutoModelForSequenceClassification.from_config(config)
            return PooledClassifier(config, AutoModel.from_config(config, **_without_pooler(config)), pooling)

    def load(self, head_seed: int) -> PreTrainedModel:
        """See `Family.load`; the task's classes (None: regression) give the head's size."""
        source, options = backbones.location(self.backbone)
        with torch.random.fork_rng(), backbones.quiet():
            torch.manual_seed(head_seed)
            config = self._labelled(AutoConfig.from_pretrained(source, **options))
            if self.backbone["pooling"] == "model":
                return AutoModelForSequenceClassification.from_pretrained(
                    source, config=config, dtype=torch.float32, **options
                )
            encoder = AutoModel.from_pretrained(
                source, config=config, dtype=torch.float32, **_without_pooler(config), **options
            )
            return PooledClassifier(config, encoder, self.backbone["pooling"])

    def examples(self, rows: datasets.Dataset, split: str) -> Examples:
        """Token ids with `labels`; longer inputs are cut at max_length tokens, padding is left to the batch."""

        def tokens(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
            texts = (batch[column] for column in self.task["inputs"])
            encoded = self.tokenizer(*texts, truncation=True, max_length=self.backbone["max_length"])
            return {**encoded, "labels": batch[self.task["label"]]}

        return rows.map(tokens, batched=True, remove_columns=rows.column_names, keep_in_memory=True, desc="Tokenizing")

    def trainer_options(self) -> TrainerOptions:
        """See `Family.trainer_options`."""
        return TrainerOptions(DataCollatorWithPadding(self.tokenizer), self.tokenizer, self.scorer())

    def _labelled(self, config: PretrainedConfig) -> PretrainedConfig:
        classes = self.task["classes"]
        config.num_labels = len(classes) if classes else 1
        config.problem_type = "single_label_classification" if classes else "regression"
        return config


def _without_pooler(config: PretrainedConfig) -> dict[str, bool]:
    """BERT's kind builds a pooler that pooled states do not use; leave it out where the class lets us."""
    architecture = AutoModel._model_mapping[type(config)]
    accepts = "add_pooling_layer" in inspect.signature(architecture.__init__).parameters
    return {"add_pooling_layer": False} if accepts else {}


FAMILY = Glue
