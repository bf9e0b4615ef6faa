"""The interface between a run and the family of its task: model, examples, scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

import datasets
import numpy as np
import pandas as pd
import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from baselines import Adapted
from baselines.adapted import head_modules
from experiments.data.weights import Weights
from experiments.errors import SpecError
from experiments.families.pretrained import LoadingInfo, Pretrained, Shapes, quiet
from schema.run import BackboneT, RunSpec, TaskT

Classes = list[str] | int | None
"""The classes of a task: their names in the order of their ids, or how many there are; None: it has none."""

Metrics = dict[str, float | None]
Examples = Dataset[Mapping[str, object]]

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Predictions:
    """What a model says to one split: one row per example (docs/RECORD.md, predictions.parquet), and the scores."""

    split: str
    frame: pd.DataFrame
    metrics: Metrics


@dataclass(frozen=True)
class Lengths:
    """How long the inputs of a split are: tokens of the longest before any is cut, and how many are cut."""

    tokens: int
    cut: int


@dataclass(frozen=True)
class TrainerOptions:
    """What `transformers.Trainer` is given beside the recipe.

    Attributes:
        collator: from a list of examples to a batch of tensors.
        processing_class: the tokenizer, where there is one.
        compute_metrics: scores of a whole split; None where the loss alone is measured after each epoch.
        arguments: further fields of `TrainingArguments`.
        compute_loss_func: the loss in place of the model's own.
        evaluate: from the model and the selection examples to their scores, in place of the `Trainer`'s own loop.
        callbacks: further callbacks, which find the training examples in the loader that the `Trainer` hands them.
        counts_tokens: whether the examples are sequences of tokens, whose number is worth keeping.
    """

    collator: Callable[[list[Any]], dict[str, Any]]
    processing_class: PreTrainedTokenizerBase | None = None
    compute_metrics: Callable[[EvalPrediction], Metrics] | None = None
    arguments: Mapping[str, bool] = field(default_factory=dict)
    compute_loss_func: Callable[..., Tensor] | None = None
    evaluate: Callable[[nn.Module, Examples], Metrics] | None = None
    callbacks: tuple[TrainerCallback, ...] = ()
    counts_tokens: bool = True


class Family(ABC, Generic[TaskT, BackboneT]):
    """One family of tasks, for one run.

    Args:
        spec: of the run.
        weights: the pretrained weights of its backbone.
        classes: of its task.
    """

    #: Whether the loss on the selection split, not the primary metric, decides which epoch is kept.
    selects_by_loss: bool = False

    def __init__(self, spec: RunSpec[TaskT, BackboneT], weights: Weights, classes: Classes) -> None:
        self.spec = spec
        self.task: TaskT = spec.task
        self.backbone: BackboneT = spec.backbone
        self.weights = weights
        self.classes = classes

    @abstractmethod
    def pretrained(self) -> Pretrained:
        """How the weights become a model, before anything is put around it.

        Raises:
            SpecError: if the backbone's settings do not suit its configuration, naming key and value.
        """

    def around(self, model: PreTrainedModel) -> PreTrainedModel:
        """The run's model around what was pretrained: the same, unless the family has a head or a change of its own.

        Raises:
            SpecError: if the backbone's settings do not suit the model, naming key and value.
        """
        return model

    def meta(self) -> PreTrainedModel:
        """The model on the meta device: all shapes and names, no memory and, where the YAML gives them, no download.

        Raises:
            SpecError: if the backbone's settings do not suit it, or the weights, where they are there, do not fit it.
        """
        pretrained = self.pretrained()
        model = self.around(self._on_meta(pretrained))
        self.require_head(model)
        present = self.weights.present()
        checkpoint = self.weights.checkpoint(present) if present else None
        if present and checkpoint and not checkpoint.errors():
            self.require_processor(present)
            shapes = checkpoint.shapes()
            with quiet():
                info = pretrained.rehearse(shapes)
            self._require_fit(model, pretrained, info, shapes)
        return model

    def _on_meta(self, pretrained: Pretrained) -> PreTrainedModel:
        try:
            return pretrained.on_meta()
        except Exception as error:  # each model refuses a size, or a name of its parts, in its own way
            key = "backbone.architecture" if self.backbone.architecture else f"{self.weights.key}: config.json"
            why, kind = " ".join(str(error).split()), pretrained.config.model_type
            raise SpecError([f"{key}: no {kind} model can be built ({why}); accepted: values that fit"]) from error

    def load(self, head_seed: int) -> PreTrainedModel:
        """The pretrained backbone in float32 with a new head; the caller's random state is left as it was.

        Args:
            head_seed: the seed of the head's initial values.

        Raises:
            SpecError: if the weights are not to be had or damaged, or do not fit the model outside the head.
        """
        folder = self.weights.folder()
        checkpoint = self.weights.checkpoint(folder)
        if errors := checkpoint.errors():
            raise SpecError(errors)
        self.require_processor(folder)
        pretrained = self.pretrained()
        with torch.random.fork_rng(), quiet():
            torch.manual_seed(head_seed)
            loaded, info = pretrained.load(folder)
            model = self.around(loaded)
        self._require_fit(model, pretrained, info, checkpoint.shapes())
        return model

    @abstractmethod
    def require_processor(self, folder: Path) -> None:
        """Refuse weights whose tokenizer or image processor cannot be used.

        Args:
            folder: of the weights.

        Raises:
            SpecError: saying why.
        """

    def require_head(self, model: PreTrainedModel) -> None:
        """Refuse a model with a new head that `backbone.head` does not name, and which would stay random.

        Raises:
            SpecError: naming its parameters.
        """

    def _require_fit(self, model: PreTrainedModel, pretrained: Pretrained, info: LoadingInfo, stored: Shapes) -> None:
        head = self.backbone.head
        misfits = pretrained.misfits(info, stored, head_modules(model, head))
        if misfits:
            raise SpecError(
                f"{self.weights.key}: its weights {misfit} of {type(model).__name__}; accepted: weights that fit; what "
                f"they rightly lack is to be trained: name it in backbone.head, which is [{', '.join(head)}]"
                for misfit in misfits
            )

    @abstractmethod
    def examples(self, rows: datasets.Dataset, split: str) -> Examples:
        """What the model is given, one entry per row and in the order of the rows.

        Args:
            rows: with inputs, label and `example_id`.
            split: "train" for rows to be trained on; any other name for rows to be scored.
        """

    def longest(self, rows: datasets.Dataset, split: str) -> Lengths | None:
        """How long the inputs of rows are that `examples` were made of; None where they are no tokens."""
        return None

    @abstractmethod
    def trainer_options(self) -> TrainerOptions:
        """Collator, metrics and arguments of the `Trainer`; they depend on no examples."""

    @abstractmethod
    def outputs(self, model: nn.Module, examples: Examples, batch_size: int) -> np.ndarray:
        """The model's logits in float32, one row per example, in their order and with dropout off."""

    @abstractmethod
    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """The prediction that follows from each row of `outputs`."""

    @abstractmethod
    def predict(self, adapted: Adapted, split: str, rows: datasets.Dataset, examples: Examples) -> Predictions:
        """Predict and score one split."""

    def check(self) -> list[str]:
        """One line for each of the family's own settings that it does not accept; reads no rows and no weights."""
        return []

    @contextmanager
    def inference(self, model: nn.Module) -> Iterator[torch.device]:
        """Dropout and gradients off, the forward in the recipe's precision; gives the model's device.

        The model's mode is the same afterwards.
        """
        was_training, device = model.training, next(model.parameters()).device
        low = _AUTOCAST.get(self.spec.recipe.precision)
        model.eval()
        try:
            with torch.no_grad(), torch.autocast(device.type, dtype=low, enabled=low is not None):
                yield device
        finally:
            model.train(was_training)

    def notes(self) -> dict[str, JsonValue]:
        """What was counted while examples were made (sequences that were cut, ...), for the record."""
        return {}


def save(predictions: list[Predictions], path: Path) -> None:
    """Write the predictions of all splits into one parquet file."""
    pd.concat([part.frame for part in predictions], ignore_index=True).to_parquet(path, index=False)
