"""Training with `transformers.Trainer`: two learning rates, and the best epoch by the primary metric kept in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import torch
from torch import nn
from torch.utils.data import SequentialSampler
from transformers import (
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from baselines import Adapted, MethodError
from experiments.errors import SpecError
from experiments.families.family import Examples, Family, Metrics, TrainerOptions
from experiments.run.devices import OneDeviceArguments
from experiments.run.history import BestEpoch, History
from experiments.run.resumable import ResumableTrainer
from experiments.run.resume import States
from schema.run import RunSpec
from schema.sections import Recipe

_POINTS_PER_EPOCH = 10
"""Loss values kept per epoch in the history."""


class TwoRateTrainer(ResumableTrainer):
    """`Trainer` whose AdamW gives adapter and head their own learning rates and their own rule of weight decay."""

    def __init__(
        self,
        *,
        parameter_groups: list[dict[str, Any]],
        evaluate: Callable[[nn.Module, Examples], Metrics] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._parameter_groups = parameter_groups
        self._scores = evaluate

    def create_optimizer(self, *_: Any) -> torch.optim.Optimizer:
        """AdamW with torch's default betas and epsilon, as the authors (PAPERS.md, "Optimiser & what counts")."""
        self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(self._parameter_groups)
        return self.optimizer

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float | None]:
        """The scores of the selection split, by the family's own function where it has one; the time is kept."""
        with self.clock.phase("selection"):
            return super().evaluate(*arguments, **options) if self._scores is None else self._own_scores(self._scores)

    def _own_scores(self, function: Callable[[nn.Module, Examples], Metrics]) -> Metrics:
        scores = {f"eval_{name}": value for name, value in function(self.model, self.eval_dataset).items()}
        self.log(scores)
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
        return scores

    def _get_eval_sampler(self, eval_dataset: datasets.Dataset) -> SequentialSampler:
        """Predict in the order of the rows: `Trainer` would group them by length wherever it groups training rows."""
        return SequentialSampler(eval_dataset)


def parameter_groups(adapted: Adapted, recipe: Recipe, decay_vectors: bool) -> list[dict[str, Any]]:
    """AdamW's groups: adapter then head, decayed then not; `part` says which.

    Matrices are decayed and vectors are not, in the head and in every adapter, except where `decay_vectors` says that
    the method's own vector is (GPart's theta: PAPERS.md, "Optimiser & what counts").
    """

    def split(part: str, named: list[tuple[str, nn.Parameter]], rate: float, vectors: bool) -> list[dict[str, Any]]:
        decayed = [p for _, p in named if p.ndim > 1 or vectors]
        plain = [p for _, p in named if not (p.ndim > 1 or vectors)]
        groups = [(decayed, recipe.weight_decay), (plain, 0.0)]
        return [{"params": group, "lr": rate, "weight_decay": decay, "part": part} for group, decay in groups if group]

    adapter = split("adapter", adapted.adapter_parameters(), recipe.learning_rate, decay_vectors)
    return adapter + split("head", adapted.head_parameters(), recipe.head_learning_rate, False)


def trainer(
    spec: RunSpec,
    adapted: Adapted,
    family: Family,
    train: Examples,
    selection: Examples,
    folder: Path,
    states: States | None = None,
) -> TwoRateTrainer:
    """The trainer of a run.

    Args:
        spec: of the run.
        adapted: the model that trains.
        family: of its task.
        train: the examples to train on.
        selection: the examples that choose the epoch.
        folder: of the run.
        states: where the state of training is kept after each epoch; None: nowhere.

    Raises:
        SpecError: if so many steps do not suit the method's own schedule.
    """
    recipe, options = spec.recipe, family.trainer_options()
    batches = math.ceil(len(train) / recipe.batch_size)  # type: ignore[arg-type]  # not typed as sized
    steps_per_epoch = math.ceil(batches / recipe.accumulation)
    total_steps = math.ceil(steps_per_epoch * recipe.epochs)
    run = TwoRateTrainer(
        adapted=adapted,
        states=states,
        args=_arguments(
            spec, options, states.folder if states else folder / "trainer", states is not None, steps_per_epoch
        ),
        train_dataset=train,
        eval_dataset=selection,
        processing_class=options.processing_class,
        data_collator=options.collator,
        compute_metrics=options.compute_metrics,
        compute_loss_func=options.compute_loss_func,
        evaluate=options.evaluate,
        callbacks=[*options.callbacks, *_own_steps(adapted, total_steps)],
        parameter_groups=parameter_groups(adapted, recipe, spec.method.decay_vectors),
    )
    run.remove_callback(PrinterCallback)
    if run.pop_callback(ProgressCallback):
        run.add_callback(_Progress)
    return run


def _arguments(
    spec: RunSpec, options: TrainerOptions, folder: Path, keeps: bool, steps_per_epoch: int
) -> OneDeviceArguments:
    """What `Trainer` is told of a recipe; `keeps`: the state of training, in the folder, after each epoch."""
    recipe = spec.recipe
    total_steps = math.ceil(steps_per_epoch * recipe.epochs)
    return OneDeviceArguments(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.eval_batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=int(recipe.warmup_ratio * total_steps),
        max_grad_norm=recipe.max_grad_norm,
        label_smoothing_factor=recipe.label_smoothing,
        bf16=recipe.precision == "bfloat16",
        fp16=recipe.precision == "float16",
        train_sampling_strategy="group_by_length" if recipe.group_by_length else "random",
        eval_strategy="epoch",
        save_strategy="epoch" if keeps else "no",
        logging_steps=max(1, steps_per_epoch // _POINTS_PER_EPOCH),
        logging_nan_inf_filter=False,
        report_to=[],
        seed=spec.seeds.data,
        data_seed=spec.seeds.data,
        include_num_input_tokens_seen="non_padding" if options.counts_tokens else "no",
        label_names=["labels"],
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.accelerator.is_available(),
        **options.arguments,
    )


def train(run: TwoRateTrainer, adapted: Adapted, primary: str) -> History:
    """Train, and leave the model at the epoch with the best `primary` on the selection split (ties: earliest).

    The loss is the one metric of which less is better. A training loss that is not finite ends the training; the
    history then says `diverged`, and so where no epoch has a finite score.
    """
    keeper = BestEpoch(adapted, primary)
    run.add_callback(keeper)
    run.go_on()
    keeper.restore()
    history = keeper.history
    if history.best_epoch is None and history.diverged is None:
        history.diverged = f"no epoch has a finite {primary} on the selection split"
    history.train_seconds, history.selection_seconds = (run.clock.seconds[phase] for phase in ("train", "selection"))
    history.tokens = int(run.state.num_input_tokens_seen)
    history.examples = round(len(run.train_dataset) * float(run.state.epoch or 0))
    return history


def _own_steps(adapted: Adapted, steps: int) -> list[TrainerCallback]:
    try:
        step = adapted.own_step(steps)
    except MethodError as error:
        raise SpecError([" ".join(str(error).split())]) from error
    return [_OwnStep(step)] if step else []


class _OwnStep(TrainerCallback):
    """Calls what a method does itself after each optimizer step."""

    def __init__(self, step: Callable[[int], None]) -> None:
        self._step = step

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The gradients are still there."""
        self._step(state.global_step)


class _Progress(ProgressCallback):
    """The progress bars without a dictionary of logs between them: the history keeps those."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Show the newest loss on the bar."""
        if self.training_bar is not None and logs and "loss" in logs:
            self.training_bar.set_postfix_str(f"loss {float(logs['loss']):.4f}")
