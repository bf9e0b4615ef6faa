"""The course of a training, and the epoch that is kept of it: the best one, in memory."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from baselines import Adapted
from schema import record
from schema.record import Epoch, Step


@dataclass
class History:
    """What training left: losses and learning rates by step, selection metrics by epoch, the epoch that was kept.

    `train_seconds` holds no evaluation; `selection_seconds` holds the evaluations and nothing else. `diverged` says why
    there is no epoch to keep.
    """

    steps: list[Step] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: float | None = None
    diverged: str | None = None
    train_seconds: float = 0.0
    selection_seconds: float = 0.0
    tokens: int = 0
    examples: int = 0

    def as_record(self) -> record.History:
        """The `history` of a run record."""
        return record.History(steps=self.steps, epochs=self.epochs, best_epoch=self.best_epoch)


class BestEpoch(TrainerCallback):
    """Keeps the history, and a copy of the trainable values at the best epoch so far."""

    def __init__(self, adapted: Adapted, primary: str) -> None:
        self._adapted = adapted
        # Once: a method that reallocates may freeze some of them on the way.
        self._trainable = adapted.adapter_parameters() + adapted.head_parameters()
        self._extra: dict[str, Any] | None = None
        self._primary = primary
        self._best: float | None = None
        self._values: dict[str, Tensor] = {}
        self.history = History()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any],
        optimizer: torch.optim.Optimizer | None = None,
        **_: Any,
    ) -> None:
        """Keep the loss and both learning rates; a loss that is not finite ends the training."""
        if "loss" not in logs:
            return
        rates = {group["part"]: group["lr"] for group in optimizer.param_groups} if optimizer else {}
        loss = float(logs["loss"])
        self.history.steps.append(
            Step(
                step=state.global_step,
                epoch=state.epoch or 0.0,
                loss=loss,
                learning_rate=rates.get("adapter"),
                head_learning_rate=rates.get("head"),
            )
        )
        if not math.isfinite(loss):
            self.history.diverged = "the training loss is not finite"
            control.should_training_stop = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, Any],
        **_: Any,
    ) -> None:
        """Keep the epoch's metrics, and its trainable values where the primary metric is the best so far.

        What is measured before the first step is kept as epoch 0, and is not to be chosen.
        """
        selection = {name.removeprefix("eval_"): value for name, value in metrics.items() if name.startswith("eval_")}
        epoch = float(state.epoch or 0)
        timing = ("runtime", "samples_per_second", "steps_per_second")
        self.history.epochs.append(
            Epoch(epoch=epoch, selection={name: value for name, value in selection.items() if name not in timing})
        )
        score = selection.get(self._primary)
        score = -score if score is not None and self._primary == "loss" else score
        if state.global_step and self._improves(score):
            self._best, self.history.best_epoch = score, epoch
            self._values = {name: parameter.detach().clone() for name, parameter in self._trainable}
            self._extra = copy.deepcopy(self._adapted.get_extra_state())

    def _improves(self, score: float | None) -> bool:
        if score is None or not math.isfinite(score):
            return False
        return self._best is None or score > self._best

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best epoch's values back; without one (never a finite score) the last stay."""
        for name, parameter in self._trainable:
            if name in self._values:
                parameter.copy_(self._values[name])
        if self._extra is not None:
            self._adapted.set_extra_state(self._extra)

    def state_dict(self) -> dict[str, Any]:
        """The history so far and the best epoch of it, as plain values and tensors."""
        history = self.history
        return {
            "curve": history.as_record().model_dump(),
            "diverged": history.diverged,
            "best": self._best,
            "values": self._values,
            "extra": self._extra,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the history of an earlier attempt."""
        curve = record.History.model_validate(state["curve"])
        self.history = History(curve.steps, curve.epochs, curve.best_epoch, diverged=state["diverged"])
        device = next(self._adapted.model.parameters()).device
        self._best = state["best"]
        self._values, self._extra = send_to_device((state["values"], state["extra"]), device)
