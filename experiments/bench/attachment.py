"""Attaching a method to a model of any size that has no weights: what it takes, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

import baselines
from experiments.bench.contender import Contender

#: Plain passes over int32 group numbers (n,) in [0, d), as one of which counting is to cost.
_PASSES: dict[str, Callable[[Tensor, Tensor, int], object]] = {
    "copy": lambda ids, out, d: out.copy_(ids),
    "bincount": lambda ids, out, d: torch.bincount(ids, minlength=d),
}


class Attachment(Contender):
    """A model on the meta device, made anew and adapted in each step.

    A `config` with `pass` in place of a method makes this plain pass of `_PASSES` over as many int32 as there are
    targeted weights, layer by layer; it has `d`, the number of different values.
    """

    def __init__(self, setting: Mapping[str, Any]) -> None:
        super().__init__(setting)
        self.ready = {}
        self.plain = setting["config"].get("pass")
        self.adapted: Any = None
        if self.plain:
            named = [(name.rpartition(".")[2], module) for name, module in self._backbone().named_modules()]
            self.layers = [module.weight.numel() for name, module in named if name in setting["targets"]]
            self.ids = torch.randint(setting["config"]["d"], (max(self.layers),), dtype=torch.int32)
            self.out = torch.empty_like(self.ids)

    def _backbone(self, **changes: Any) -> torch.nn.Module:
        from transformers import AutoConfig, AutoModel

        with torch.device("meta"):
            model: torch.nn.Module = AutoModel.from_config(
                AutoConfig.for_model(**self.setting["architecture"] | changes)
            )
        return model

    @override
    def warm_up(self, count: int) -> dict[str, Any]:
        """One attachment to a model of one layer: imports and caches, not the cost of the size."""
        return self._attached(self._backbone(num_hidden_layers=1)) if not self.plain else {}

    @override
    def turn(self, count: int) -> dict[str, list[float]]:
        """Seconds of `count` times `attach`, adapting the model, and `first_use`, what a method computes before it is
        used: a partition its group sizes, scale and digest. Or of `count` plain passes, `one_pass`.
        """
        steps = [self._passed() if self.plain else self._attached(self._backbone()) for _ in range(count)]
        return {part: [step[part] for step in steps] for part in steps[0]}

    def _attached(self, model: torch.nn.Module) -> dict[str, float]:
        self.adapted, method, started = None, self.method(), self.now()
        self.adapted = baselines.adapt(model, method, head=self.setting["head"], init_seed=0)
        attached = self.now()
        times = {"attach": attached - started}
        if self.adapted.name == "gpart":
            partition = self.adapted.model.base_model.partition()
            partition.layer_groups(0, torch.device("cpu"))
            partition.scale(torch.float32)
            _ = partition.digest
            times["first_use"] = self.now() - attached
        return times

    def _passed(self) -> dict[str, float]:
        started = self.now()
        for size in self.layers:
            _PASSES[self.plain](self.ids[:size], self.out[:size], self.setting["config"]["d"])
        return {"one_pass": self.now() - started}

    @override
    def sizes(self) -> dict[str, Any]:
        """Counts, and bytes of state once it is in use. Nothing is merged or saved: there are no values."""
        if self.plain:
            return {"adapted_weights": sum(self.layers)}
        return {
            "trainable": self.adapted.trainable,
            "theta": self.adapted.theta,
            "adapted_weights": self.adapted.adapted_weights,
            "state_bytes": self.adapted.runtime_state_bytes,
        }
