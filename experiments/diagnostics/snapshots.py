"""Copies of the trained values along training, for diagnostics that follow a run's path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from baselines import Adapted

MOST_BYTES = 2**30
"""All copies of one run together; the first and the last are always kept."""


@dataclass(frozen=True)
class Snapshot:
    """The method's trained values, without the head, after `step` optimizer steps.

    Attributes:
        step: optimizer steps so far; 0 is before the first.
        epoch: epochs so far.
        values: by parameter name as in `Adapted.adapter_parameters`, on the CPU.
    """

    step: int
    epoch: float
    values: dict[str, Tensor]


class Snapshots(TrainerCallback):
    """Takes `count` snapshots, evenly spaced over the optimizer steps, the start and the end among them."""

    def __init__(self, adapted: Adapted, count: int) -> None:
        self._adapted = adapted
        size = sum(p.numel() * p.element_size() for _, p in adapted.adapter_parameters())
        self._count = max(2, min(count, MOST_BYTES // max(1, size)))
        self._steps: set[int] = set()
        self.taken: list[Snapshot] = []

    def _take(self, state: TrainerState) -> None:
        values = {name: p.detach().cpu().clone() for name, p in self._adapted.adapter_parameters()}
        self.taken.append(Snapshot(state.global_step, float(state.epoch or 0), values))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Keep the initial values, unless an earlier attempt did, and choose the steps of the others."""
        self._steps = {round(i * state.max_steps / (self._count - 1)) for i in range(1, self._count)}
        if not self.taken:
            self._take(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Keep the values after one of the chosen steps."""
        if state.global_step in self._steps:
            self._take(state)

    def state_dict(self) -> dict[str, Any]:
        """All snapshots, as plain values and tensors."""
        return {"taken": [vars(snapshot) for snapshot in self.taken]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the snapshots of an earlier attempt."""
        self.taken = [Snapshot(**taken) for taken in state["taken"]]
