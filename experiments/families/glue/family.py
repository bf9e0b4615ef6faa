"""GLUE: sentences and pairs of sentences, an encoder with a new head."""

from __future__ import annotations

import inspect
from functools import cached_property
from pathlib import Path

import datasets
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from experiments.families import tokenizer
from experiments.families.classification import Classification, labelled
from experiments.families.family import Examples, Lengths, TrainerOptions
from experiments.families.glue.pooled import PooledClassifier
from experiments.families.glue.section import GlueBackbone
from experiments.families.pretrained import Pretrained, require_positions
from schema.sections import Task


class Glue(Classification[Task, GlueBackbone]):
    """A run on a task of GLUE."""

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The backbone's own tokenizer."""
        return tokenizer.loaded(self.weights.folder(), self.weights.key)

    def require_processor(self, folder: Path) -> None:
        """See `Family.require_processor`: a tokenizer, with the token that fills a batch up."""
        tokenizer.require_token(tokenizer.loaded(folder, self.weights.key), "pad_token", self.weights.key)

    def with_logits(self, logits: int) -> Pretrained:
        """See `Classification.with_logits`: of pooled states the encoder alone is pretrained."""
        config = labelled(self.weights.config(), logits, regression=not self.classes)
        require_positions(config, self.backbone.max_length)
        if self.backbone.pooling == "model":
            return Pretrained(AutoModelForSequenceClassification, config)
        return Pretrained(AutoModel, config, _without_pooler(config), place="encoder.")

    def around(self, model: PreTrainedModel) -> PreTrainedModel:
        """See `Family.around`: a linear head on pooled states."""
        if self.backbone.pooling == "model":
            return model
        with next(model.parameters()).device:
            return PooledClassifier(model.config, model, self.backbone.pooling)

    def examples(self, rows: datasets.Dataset, split: str) -> Examples:
        """Token ids with `labels`; longer inputs are cut at max_length tokens, padding is left to the batch."""

        # Not through self: the library hashes all that the function refers to.
        words, inputs, label = self.tokenizer, self.task.inputs, self.task.label
        max_length = self.backbone.max_length

        def tokens(batch: dict[str, list[object]]) -> dict[str, list[object]]:
            texts = (batch[column] for column in inputs)
            return {**words(*texts, truncation=True, max_length=max_length), "labels": batch[label]}

        found = rows.map(tokens, batched=True, remove_columns=rows.column_names, keep_in_memory=True, desc="Tokenizing")
        tokenizer.require_known(found, self.weights.config(), self.weights.key)
        return found

    def longest(self, rows: datasets.Dataset, split: str) -> Lengths:
        """See `Family.longest`."""
        texts = [list(rows[column][:]) for column in self.task.inputs]
        lengths = [len(ids) for ids in self.tokenizer(*texts, verbose=False)["input_ids"]]
        return Lengths(max(lengths), sum(length > self.backbone.max_length for length in lengths))

    def trainer_options(self) -> TrainerOptions:
        """See `Family.trainer_options`."""
        return TrainerOptions(DataCollatorWithPadding(self.tokenizer), self.tokenizer, self.scorer())


def _without_pooler(config: PretrainedConfig) -> dict[str, bool]:
    """BERT's kind builds a pooler that pooled states do not use; leave it out where the class lets us."""
    architecture = AutoModel._model_mapping[type(config)]
    accepts = "add_pooling_layer" in inspect.signature(architecture.__init__).parameters
    return {"add_pooling_layer": False} if accepts else {}


FAMILY = Glue
