"""Training on several processes with the numbers of one: each of them computes its share of every batch.

All processes go through the same batches in the same order, and each keeps its part of the rows. torch averages their
gradients (DistributedDataParallel); each loss is weighted by the part of the labels that it is the mean of, so that the
average is the gradient of the whole batch. Evaluations are not shared: every process predicts all rows, and scores are
those of one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.data_loader import BatchSamplerShard
from accelerate.utils import synchronize_rng_states
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from experiments.run import processes

_IGNORED = -100
"""The label that no loss of transformers counts."""

Batch = dict[str, Any]


@dataclass(frozen=True)
class Share:
    """A collator that keeps one process' rows of a batch; where there are none for it, a row without a label.

    It is given whole batches, since rows that are mixed or grouped with each other are so within the whole one.

    Args:
        collator: from rows to a batch of tensors.
        rank: of the process.
        size: how many processes there are.
    """

    collator: Callable[[Sequence[Mapping[str, object]]], Batch]
    rank: int
    size: int

    def __call__(self, rows: Sequence[Mapping[str, object]]) -> Batch:
        """The batch of the rows of this process, which follow each other."""
        first, last = (len(rows) * rank // self.size for rank in (self.rank, self.rank + 1))
        batch = self.collator(rows[first:last] or rows[:1])
        if first == last:
            batch["labels"] = torch.full_like(batch["labels"], _IGNORED)
        return batch


class SharingTrainer(Trainer):
    """`Trainer` whose batches are those of one process, however many share them; alone it is `Trainer` itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if processes.size() > 1:
            self.add_callback(_SameDraws())

    def get_train_dataloader(self) -> DataLoader[Mapping[str, object]]:
        """Whole batches, of which the collator keeps the share of this process."""
        loader: Any = _whole(super().get_train_dataloader())
        if processes.size() > 1:
            own = loader.base_dataloader  # what accelerate wraps
            own.collate_fn = Share(own.collate_fn, processes.rank(), processes.size())
        return loader

    def get_eval_dataloader(self, *arguments: Any, **options: Any) -> DataLoader[Mapping[str, object]]:
        """All rows, on every process."""
        return _whole(super().get_eval_dataloader(*arguments, **options))

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        """Predict all rows here, with nothing to be gathered from other processes."""
        with _alone(self.accelerator):
            return super().evaluation_loop(*arguments, **options)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The loss of these rows, in training weighted so that its mean over processes is that of the whole batch."""
        if processes.size() == 1 or not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"]
        learnt = items = labels.ne(_IGNORED).sum()
        if num_items_in_batch is not None and not _loss_is_mean(self.model):
            # The loss is a sum over this batch, divided by the labels of all batches of the optimizer step.
            items = torch.as_tensor(num_items_in_batch, device=labels.device)
        weight = items * processes.size() / self.accelerator.gather(items).sum()
        if not learnt:
            del inputs["labels"]
            return model(**inputs).logits.sum() * 0.0
        return super().compute_loss(model, inputs, False, num_items_in_batch) * weight


def _loss_is_mean(model: nn.Module) -> bool:
    """Whether the model's own loss is a mean over the batch, whatever number of labels it is told."""
    return getattr(model, "loss_is_mean", False) or getattr(model.config, "problem_type", None) == "regression"


def _whole(loader: DataLoader[Mapping[str, object]]) -> DataLoader[Mapping[str, object]]:
    """The loader, as it would be for one process: accelerate deals out whole batches, and completes the last ones."""
    shard = loader.batch_sampler
    if isinstance(shard, BatchSamplerShard):
        shard.num_processes, shard.process_index, shard.even_batches = 1, 0, False
    return loader


@contextmanager
def _alone(accelerator: Accelerator) -> Iterator[None]:
    """Within the block what is gathered from all processes is what this one has."""
    accelerator.gather = lambda values: values
    try:
        yield
    finally:
        del accelerator.gather


class _SameDraws(TrainerCallback):
    """Each epoch begins with the first process' random state: groups by length are drawn from it, as is dropout."""

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Before the loader draws its order."""
        synchronize_rng_states(["torch"])
