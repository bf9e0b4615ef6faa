"""Attaching a method to a model of any size that has no weights: what it takes, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

import baselines
from experiments.bench.contender import Contender
from experiments.bench.measured import Sizes, Turn
from experiments.bench.setting import Job, PlainPass
from gpart import GPartModel

#: Plain passes over int32 group numbers (n,) in [0, d), as one of which counting is to cost.
_PASSES: dict[str, Callable[[Tensor, Tensor, int], object]] = {
    "copy": lambda ids, out, d: out.copy_(ids),
    "bincount": lambda ids, out, d: torch.bincount(ids, minlength=d),
}


class Attachment(Contender):
    """A model on the meta device, made anew and adapted in each step.

    A job with a plain pass in place of a method makes that pass over as many int32 as there are targeted weights, layer
    by layer.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.adapted: baselines.Adapted | None = None
        self.plain = job.plain_pass
        if self.plain:
            named = [(name.rpartition(".")[2], module) for name, module in self._backbone().named_modules()]
            self.layers = [module.weight.numel() for name, module in named if name in job.targets]
            self.ids = torch.randint(self.plain.d, (max(self.layers),), dtype=torch.int32)
            self.out = torch.empty_like(self.ids)

    def _backbone(self, **changes: int) -> torch.nn.Module:
        from transformers import AutoConfig, AutoModel

        with torch.device("meta"):
            model: torch.nn.Module = AutoModel.from_config(
                AutoConfig.for_model(**self.job.architecture.model_dump(exclude_unset=True) | changes)
            )
        return model

    @override
    def warm_up(self, count: int) -> None:
        """One attachment to a model of one layer: imports and caches, not the cost of the size."""
        if not self.plain:
            self._attached(self._backbone(num_hidden_layers=1))

    @override
    def turn(self, count: int) -> Turn:
        """Seconds of `count` times `attach`, adapting the model, and `first_use`, what a method computes before it is
        used: a partition its group sizes, scale and digest. Or of `count` plain passes, `one_pass`.
        """
        steps = [self._passed(self.plain) if self.plain else self._attached(self._backbone()) for _ in range(count)]
        return {part: [step[part] for step in steps] for part in steps[0]}

    def _attached(self, model: torch.nn.Module) -> dict[str, float]:
        self.adapted, method, started = None, self.method(), self.now()
        self.adapted = baselines.adapt(model, method, head=self.job.head, init_seed=0)
        attached = self.now()
        times = {"attach": attached - started}
        tuner = getattr(self.adapted.model, "base_model", None)
        if isinstance(tuner, GPartModel):
            partition = tuner.partition()
            partition.layer_groups(0, torch.device("cpu"))
            partition.scale(torch.float32)
            _ = partition.digest
            times["first_use"] = self.now() - attached
        return times

    def _passed(self, plain: PlainPass) -> dict[str, float]:
        started = self.now()
        for size in self.layers:
            _PASSES[plain.kind](self.ids[:size], self.out[:size], plain.d)
        return {"one_pass": self.now() - started}

    @override
    def sizes(self) -> Sizes:
        """Counts, and bytes of state once it is in use. Nothing is merged or saved: there are no values."""
        if self.adapted is None:
            return Sizes(adapted_weights=sum(self.layers))
        return Sizes(
            trainable=self.adapted.trainable,
            theta=self.adapted.theta,
            adapted_weights=self.adapted.adapted_weights,
            state_bytes=self.adapted.runtime_state_bytes,
        )
