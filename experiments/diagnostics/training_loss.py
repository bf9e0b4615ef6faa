"""The training loss of fixed examples as a function of a method's trained values."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from transformers.trainer_pt_utils import LabelSmoother

from baselines import Adapted
from experiments.families.family import Examples, Family

IGNORED = -100
"""The label of a token that no loss is taken of."""

Batch = Mapping[str, Tensor | bool]
"""The inputs of a model by name, `labels` among them; switches such as `use_cache` come as they are."""


class TrainingLoss:
    """What training minimises, on fixed batches: every example (of language, every learnt token) counts alike.

    Augmented or mixed images are those of the epoch that the examples stand at.

    Args:
        adapted: the model; it computes what it is left to compute, so put it `at_rest` first.
        family: of the task; gives collator, loss, and the recipe's batch size and label smoothing.
        examples: the training examples.
        rows: how many of them at most.
        seed: of their choice.

    Attributes:
        parameters: the method's trained parameters, without the head.
        rows: number of examples.
        terms: the batches; the loss is the sum of `term` over them.
    """

    def __init__(self, adapted: Adapted, family: Family, examples: Examples, *, rows: int, seed: int) -> None:
        self.parameters: list[nn.Parameter] = [parameter for _, parameter in adapted.adapter_parameters()]
        self._model = adapted.model
        self._function = family.trainer_options().compute_loss_func
        smoothing = family.spec.recipe.label_smoothing
        self._smoother = LabelSmoother(epsilon=smoothing) if smoothing and self._function is None else None
        batches = _batches(self._model, family, examples, rows, seed)
        counts = [int((_labels(batch) != IGNORED).sum()) for batch in batches]
        self.rows = sum(len(_labels(batch)) for batch in batches)
        self.terms = [(batch, count / sum(counts)) for batch, count in zip(batches, counts, strict=True)]

    def values(self) -> Tensor:
        """A copy of the trained values, one vector (n,)."""
        return nn.utils.parameters_to_vector(self.parameters).detach().clone()

    @torch.no_grad()
    def at(self, values: Tensor) -> float:
        """The loss at `values` (n,), which the model then holds."""
        for parameter, part in zip(self.parameters, values.split([p.numel() for p in self.parameters]), strict=True):
            parameter.copy_(part.view_as(parameter))
        return sum(float(self.term(*term)) for term in self.terms)

    def term(self, batch: Batch, weight: float) -> Tensor:
        """What one batch adds to the loss, a scalar: as `Trainer.compute_loss`, times the batch's share."""
        labels, inputs = _labels(batch), {name: value for name, value in batch.items() if name != "labels"}
        if self._function is not None:
            loss = self._function(self._model(**inputs), labels)
        elif self._smoother is not None:
            # Labels of a sequence are those of a causal language model, which the token before predicts.
            loss = self._smoother(self._model(**inputs), labels, shift_labels=labels.ndim > 1)
        else:
            loss = self._model(**batch).loss
        return weight * loss


@contextmanager
def at_rest(adapted: Adapted) -> Iterator[None]:
    """The model with dropout off and in its own precision; modes and trained values return bit for bit.

    Training in half precision leaves an autocast around the forward, which would hide small differences of the loss.
    """
    model, trained = adapted.model, [parameter for _, parameter in adapted.adapter_parameters()]
    modes, values = {module: module.training for module in model.modules()}, [p.detach().clone() for p in trained]
    wrapped = model.__dict__.pop("forward", None)
    model.eval()
    try:
        yield
    finally:
        if wrapped is not None:
            model.forward = wrapped
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for parameter, value in zip(trained, values, strict=True):
                parameter.copy_(value)


def _batches(model: nn.Module, family: Family, examples: Examples, rows: int, seed: int) -> list[Batch]:
    """The chosen examples as `Trainer` would feed them, on the model's device."""
    generator = torch.Generator().manual_seed(seed)
    chosen = _by_length(examples, torch.randperm(len(examples), generator=generator)[:rows].tolist())  # type: ignore[arg-type]
    options, device = family.trainer_options(), next(model.parameters()).device
    loader = DataLoader(
        Subset(examples, chosen),
        batch_size=family.spec.recipe.batch_size,
        collate_fn=options.collator,
        generator=generator,
    )
    drops_columns = options.arguments.get("remove_unused_columns", True)
    batches: list[Batch] = []
    for batch in loader:
        names = [name for name in batch if not drops_columns or name in _accepted(model)]
        batches.append({name: _moved(batch[name], device) for name in names})
    return batches


def _moved(value: Tensor | bool, device: torch.device) -> Tensor | bool:
    return value.to(device) if isinstance(value, Tensor) else value


def _labels(batch: Batch) -> Tensor:
    labels = batch["labels"]
    assert isinstance(labels, Tensor)
    return labels


def _by_length(examples: Examples, chosen: list[int]) -> list[int]:
    """Sequences from short to long: padding, which changes no loss, is most of the time where lengths are mixed."""
    if "input_ids" not in examples[chosen[0]]:
        return chosen
    return sorted(chosen, key=lambda index: len(cast("Sized", examples[index]["input_ids"])))


def _accepted(model: nn.Module) -> set[str]:
    """Names of the inputs that `Trainer` hands to the model: those that the backbone's forward names."""
    bare = model.get_base_model() if isinstance(model, PeftModel) else model
    return set(inspect.signature(bare.forward).parameters)
