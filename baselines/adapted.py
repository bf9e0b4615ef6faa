"""What every method gives back: a model, what is trainable in it, its sizes, and its way to disk and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from baselines.checkpoint import stored_bytes
from baselines.errors import MethodError

if TYPE_CHECKING:
    from peft import PeftConfig

    from baselines.selection import TrainableSelection

NamedParameters = list[tuple[str, nn.Parameter]]


class Adapted(ABC):
    """A backbone in which exactly one method's parameters and the head are trainable.

    Args:
        model: the adapted model; what training and evaluation call.
        config: the method's configuration, as it was given.
        head: full names, in the bare backbone, of the modules that make up the head.
    """

    #: Whether the method's change can be added into the weights of the backbone.
    can_merge: bool

    def __init__(self, model: nn.Module, config: PeftConfig | TrainableSelection, head: Sequence[str]) -> None:
        self.model = model
        self.config = config
        self.head = tuple(head)

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the method."""

    @abstractmethod
    def head_parameters(self) -> NamedParameters:
        """The head's trainable parameters, with their names in `model`."""

    def adapter_parameters(self) -> NamedParameters:
        """The trainable parameters outside the head, with their names in `model`."""
        head = {id(parameter) for _, parameter in self.head_parameters()}
        return [
            (name, parameter)
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad and id(parameter) not in head
        ]

    @property
    def trainable(self) -> int:
        """Number of trainable values, the head's included."""
        return self.theta + count(parameter for _, parameter in self.head_parameters())

    @property
    def theta(self) -> int:
        """Number of trainable values outside the head: the count that papers report."""
        return count(parameter for _, parameter in self.adapter_parameters())

    @property
    @abstractmethod
    def adapted_weights(self) -> int:
        """Number of entries of the backbone, outside the head, whose value the method may change."""

    @property
    def total(self) -> int:
        """Number of parameters of the model, adapter included, each counted once."""
        return count(self.model.parameters())

    @property
    def runtime_state_bytes(self) -> int:
        """Bytes of fixed state (indices, scales, frozen projections) kept in memory beside the parameters."""
        return 0

    @property
    def dead_coordinates(self) -> int:
        """Number of trainable values that no weight depends on."""
        return 0

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what training changed, and nothing else of the backbone, into `folder`."""

    @abstractmethod
    def reload(self, fresh_model: nn.Module, folder: Path) -> Adapted:
        """Put what `save` wrote onto `fresh_model`, a new backbone as it was before `adapt`.

        Raises:
            ValueError: if the files are missing, damaged, or were written for another method or backbone.
        """

    @abstractmethod
    def weights_file(self, folder: Path) -> Path:
        """The file of tensors that `save` writes in `folder`."""

    def checkpoint_bytes(self, folder: Path, *, with_head: bool) -> int:
        """Size in bytes of the file of tensors in `folder`, as it is or as it would be without the head.

        The configuration written beside it, which is text for people too, does not count.
        """
        file = self.weights_file(folder)
        return file.stat().st_size if with_head else stored_bytes(file, self._outside_head)

    @abstractmethod
    def _outside_head(self, key: str) -> bool:
        """Whether the tensor stored under `key` is not part of the head."""

    def own_step(self, steps: int) -> Callable[[int], None] | None:
        """What the method itself does after each optimizer step, while the gradients are still there; None: nothing.

        It is called with the number of the step, from 0.

        Args:
            steps: optimizer steps of the whole training.

        Raises:
            ValueError: if so few steps leave no room for the method's own schedule.
        """
        return None

    @property
    def can_resume(self) -> bool:
        """Whether trained values and `get_extra_state` are all that training changes."""
        return True

    def get_extra_state(self) -> dict[str, Any]:
        """What a method's own steps learn beside its trained values: tensors and plain values, not copied."""
        return {}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Put back what `get_extra_state` gave, which is nothing where there is nothing to learn."""
        assert not state

    def merged_weights(self) -> NamedParameters:
        """The backbone's parameters that merging changes, with their names in `model`."""
        return []

    def merge(self) -> None:
        """Add the change into the backbone's weights, in place; the forward then uses plain weights.

        Raises:
            NotImplementedError: if the method has nothing to merge.
        """
        raise NotImplementedError(f"{self.name} has nothing to merge")

    def unmerge(self) -> None:
        """Take the change out of the backbone's weights again, in place.

        Raises:
            NotImplementedError: if the method has nothing to merge.
        """
        raise NotImplementedError(f"{self.name} has nothing to unmerge")

    def merged_model(self) -> nn.Module:
        """A copy of the backbone, of its own class and without any adapter module, that gives `model`'s outputs.

        Raises:
            NotImplementedError: if the method has nothing to merge.
        """
        raise NotImplementedError(f"{self.name} has nothing to merge")


def count(parameters: Iterable[nn.Parameter]) -> int:
    """Number of entries of `parameters`, shared ones counted once."""
    return sum(parameter.numel() for parameter in {id(p): p for p in parameters}.values())


def head_modules(model: nn.Module, head: Sequence[str]) -> list[str]:
    """Full names of the modules that `head` names by their last components.

    Raises:
        ValueError: if a name matches no module.
    """
    names = [name for name, _ in model.named_modules() if name]
    found = []
    for wanted in head:
        matches = [name for name in names if f".{name}".endswith(f".{wanted}")]
        if not matches:
            top = ", ".join(name for name, _ in model.named_children())
            raise MethodError(
                f"backbone.head={wanted}: names no module of {type(model).__name__}; accepted: a name of one, at its "
                f"top {top}"
            )
        found += matches
    return found


def within(name: str, modules: Iterable[str]) -> bool:
    """Whether the parameter or module `name` is one of `modules` or lies inside one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)
