"""A `Trainer` whose checkpoints hold what training has changed, and nothing else of the model."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor
from torch.distributed.checkpoint.stateful import Stateful
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from baselines import Adapted
from experiments.run.clock import Clock
from experiments.run.resume import Kept, States, load
from experiments.run.sharing import SharingTrainer

_PARTS = "parts.pt"


class ResumableTrainer(SharingTrainer):
    """`Trainer` that keeps its state after each epoch and goes on from the newest one.

    Its own files hold the optimizer, the schedule and the random states; `parts.pt` holds what training changes in the
    model, and the state of each callback that is a `Stateful`.

    Args:
        adapted: the model that trains.
        states: where they are kept; None: nowhere.
        options: of `Trainer`.
    """

    def __init__(self, *, adapted: Adapted, states: States | None, **options: Any) -> None:
        super().__init__(model=adapted.model, **options)
        self.clock = Clock()
        self._states = states
        self._model_state = ModelState(adapted) if states else None
        self._kept: Kept | None = None
        self.add_callback(self.clock)
        self.add_callback(_Loop(self))

    def go_on(self) -> None:
        """Train from the newest state that is kept, or from the start."""
        self._kept = kept = self._states.newest() if self._states else None
        if kept is None:
            self.train()
            return
        self.args.eval_on_start = False  # the state holds what was measured then
        self.train(resume_from_checkpoint=str(kept.folder))

    def restore_random_states(self) -> None:
        """Those of the state that was taken up; nothing without one."""
        if self._kept is not None:
            self._load_rng_state(str(self._kept.folder))

    def _parts(self) -> dict[str, Stateful]:
        callbacks = {
            type(part).__name__: part for part in self.callback_handler.callbacks if isinstance(part, Stateful)
        }
        return callbacks if self._model_state is None else {**callbacks, "model": self._model_state}

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        """Write a state, whole or not at all; the time is no part of training."""
        if self._states is None:
            return
        step, main = self.state.global_step, self.args.should_save
        with self.clock.phase("keeping"), self._states.writing(step) if main else nullcontext():
            self.accelerator.wait_for_everyone()  # nothing is left there of an earlier attempt
            super()._save_checkpoint(*arguments, **options)
            self.accelerator.wait_for_everyone()  # each process has written its random states
            if main:
                self._states.seal(step, float(self.state.epoch), self.control.should_training_stop)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({name: part.state_dict() for name, part in self._parts().items()}, folder / _PARTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        stored = load(Path(resume_from_checkpoint) / _PARTS)
        for name, part in self._parts().items():
            part.load_state_dict(stored[name])

    def _run_epoch(self, *, resume_from_checkpoint: str | None, **options: Any) -> None:
        """As from the start, `_Loop` having restored the random states before any callback of the epoch.

        Nothing where training has ended already, be it within an epoch as `recipe.epochs=2.5` does.
        """
        if self._kept is None or not self._kept.ended:
            super()._run_epoch(resume_from_checkpoint=None, **options)


class ModelState:
    """What training changes in a model, as a `Stateful`.

    Args:
        adapted: the model, before training.
    """

    def __init__(self, adapted: Adapted) -> None:
        self._adapted = adapted
        self._trained = dict(adapted.adapter_parameters() + adapted.head_parameters())
        self._buffers = {name: _digest(buffer) for name, buffer in adapted.model.named_buffers()}

    def state_dict(self) -> dict[str, Any]:
        """Trained values, buffers with another content than before, and what the method's own steps have learnt."""
        buffers = self._adapted.model.named_buffers()
        return {
            "values": {name: parameter.detach() for name, parameter in self._trained.items()},
            "frozen": [name for name, parameter in self._trained.items() if not parameter.requires_grad],
            "buffers": {name: buffer for name, buffer in buffers if _digest(buffer) != self._buffers.get(name)},
            "own": self._adapted.get_extra_state(),
            "training": self._adapted.model.training,
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put everything back in place."""
        model = self._adapted.model
        places = {**self._trained, **dict(model.named_buffers())}
        for name, tensor in {**state["values"], **state["buffers"]}.items():
            places[name].copy_(tensor)
        for name in state["frozen"]:
            self._trained[name].requires_grad_(False)
        self._adapted.set_extra_state(send_to_device(state["own"], next(model.parameters()).device))
        model.train(state["training"])


class _Loop(TrainerCallback):
    """What `Trainer` sets anew when its loop begins: the loss since the last point of the curve, and random states.

    Where the points of the curve do not divide an epoch, the next one covers steps of two epochs.
    """

    def __init__(self, trainer: ResumableTrainer) -> None:
        self._trainer = trainer
        self._stored: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """The sum of the loss, and the step that it is summed from."""
        return {"sum": self._trainer._tr_loss, "since": self._trainer._globalstep_last_logged}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep them until the loop begins."""
        self._stored = state

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Put them back."""
        if self._stored:
            self._trainer._tr_loss = self._stored["sum"].to(args.device)
            self._trainer._globalstep_last_logged = self._stored["since"]
            self._trainer.restore_random_states()


def _digest(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().data).digest()
