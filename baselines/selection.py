"""Methods that add nothing to the model and only choose which of its own parameters train."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from safetensors.torch import load_file, save_file
from torch import nn
from typing_extensions import override

from baselines.adapted import Adapted, NamedParameters, count, head_modules, within
from baselines.checkpoint import check_fits, check_whole

WEIGHTS = "trained.safetensors"
DESCRIPTION = "trained.json"


@runtime_checkable
class TrainableSelection(Protocol):
    """Configuration of a method that trains some of the backbone's own parameters."""

    def selects(self, parameter: str) -> bool:
        """Whether the parameter of this name, which is not part of the head, trains."""


@dataclass(frozen=True)
class FullFineTuning:
    """Everything trains."""

    name: ClassVar[str] = "full"

    def selects(self, parameter: str) -> bool:
        """Every parameter."""
        return True


@dataclass(frozen=True)
class BitFit:
    """The biases train, those of the layer norms included (Ben Zaken et al., arXiv 2106.10199, section 3)."""

    name: ClassVar[str] = "bitfit"

    def selects(self, parameter: str) -> bool:
        """Every parameter that is called bias."""
        return parameter.rpartition(".")[2] == "bias"


@dataclass(frozen=True)
class HeadOnly:
    """Nothing of the backbone trains: the linear probe."""

    name: ClassVar[str] = "head"

    def selects(self, parameter: str) -> bool:
        """No parameter."""
        return False


@dataclass(frozen=True)
class Untrained(HeadOnly):
    """Nothing trains at all: the pretrained model, where it can do the task without a new head."""

    name: ClassVar[str] = "untrained"


class SelectedParameters(Adapted):
    """A backbone of which a `TrainableSelection` and the head train, in place."""

    can_merge = False
    config: TrainableSelection

    @classmethod
    def select(cls, model: nn.Module, config: TrainableSelection, head: Sequence[str]) -> SelectedParameters:
        """Set `requires_grad` of every parameter of `model`.

        Raises:
            ValueError: if `head` names no module of the model, or the method does not fit a model with or without one,
                or selects nothing of it.
        """
        if isinstance(config, HeadOnly) and isinstance(config, Untrained) == bool(head):
            has, other = ("a new head", "head") if head else ("no new head", "untrained")
            raise ValueError(f"method={config.name}: the backbone has {has}; accepted: method={other}")
        adapted = cls(model, config, head_modules(model, head))
        for parameter_name, parameter in model.named_parameters():
            parameter.requires_grad_(within(parameter_name, adapted.head) or config.selects(parameter_name))
        if not isinstance(config, HeadOnly) and not adapted.theta:
            raise ValueError(
                f"method={adapted.name}: selects no parameter of {type(model).__name__}; "
                "accepted: a backbone that has some"
            )
        return adapted

    @property
    @override
    def name(self) -> str:
        return getattr(self.config, "name", type(self.config).__name__.lower())

    @override
    def head_parameters(self) -> NamedParameters:
        return [(name, p) for name, p in self.model.named_parameters() if within(name, self.head)]

    @property
    @override
    def adapted_weights(self) -> int:
        return count(parameter for _, parameter in self.adapter_parameters())

    @override
    def weights_file(self, folder: Path) -> Path:
        return folder / WEIGHTS

    def _outside_head(self, key: str) -> bool:
        return not within(key, self.head)

    def merged_model(self) -> nn.Module:
        """A copy of the model, which has no adapter module to begin with."""
        return copy.deepcopy(self.model)

    def _description(self) -> dict[str, object]:
        return {"method": self.name, "config": repr(self.config), "head": list(self.head)}

    def save(self, folder: Path) -> None:
        """Write exactly the trainable parameters, and a JSON file that says of which method."""
        folder.mkdir(parents=True, exist_ok=True)
        trained = {name: p.detach().contiguous() for name, p in self.model.named_parameters() if p.requires_grad}
        save_file(trained, self.weights_file(folder), metadata={"format": "pt"})
        (folder / DESCRIPTION).write_text(json.dumps(self._description(), indent=2) + "\n")

    @override
    def reload(self, fresh_model: nn.Module, folder: Path) -> SelectedParameters:
        check_whole(self.weights_file(folder))
        written = json.loads((folder / DESCRIPTION).read_text())
        if written != self._description():
            raise ValueError(f"checkpoint: {folder} was written for {written}, not for {self._description()}")
        fresh = self.select(fresh_model, self.config, self.head)
        trainable = {name: p for name, p in fresh_model.named_parameters() if p.requires_grad}
        check_fits(self.weights_file(folder), {name: tuple(p.shape) for name, p in trainable.items()})
        stored = load_file(self.weights_file(folder))
        for name, parameter in trainable.items():
            parameter.data.copy_(stored[name])
        return fresh
