"""The slice of an adapter that falls on one tensor of a layer: the rows of P that are the tensor's."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from weakref import WeakValueDictionary

from torch import Tensor

from gpart.compute.deltas import Delta
from gpart.compute.dropout import draw_mask_seed
from gpart.numerics import accumulation_dtype
from gpart.partition.partition import Partition

_SLICES: WeakValueDictionary[int, LayerSlice] = WeakValueDictionary()
_NUMBERS = count()


@dataclass(frozen=True)
class LayerSlice:
    """The slice of an adapter that falls on a layer's weight, or on its bias.

    Attributes:
        partition: of the adapter.
        index: of the tensor in the partition.
        dropout: probability that an entry of the change is dropped in training.
        keep_base: whether merging keeps a copy of the base weight.
        number: by which `numbered` finds it, for compiled graphs, which cannot hold it.
    """

    partition: Partition
    index: int
    dropout: float
    keep_base: bool
    number: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", next(_NUMBERS))
        _SLICES[self.number] = self

    def __reduce__(self) -> tuple[type[LayerSlice], tuple[Partition, int, float, bool]]:
        # A copy, or what is unpickled in another process, has a number of its own.
        return LayerSlice, (self.partition, self.index, self.dropout, self.keep_base)

    def mask_seed(self, tensor: Tensor) -> Tensor:
        """A fresh seed of dropout on the change of `tensor`, which is of the slice's shape: () int64 on the CPU.

        Under `torch.func.vmap` with different randomness it is the mask itself, see `draw_mask_seed`.
        """
        return draw_mask_seed(self.dropout, tensor)

    def delta(self, theta: Tensor, weight: Tensor, mask_seed: Tensor | None = None) -> Delta:
        """The adapter's change of `weight`.

        Args:
            theta: the adapter's vector, (d,).
            weight: of which device and accumulation type are taken.
            mask_seed: of dropout, as `LayerSlice.mask_seed` gives it; None drops nothing.
        """
        value = self.partition.scaled(theta, accumulation_dtype(weight.dtype), weight.device)
        groups = self.partition.layer_groups(self.index, weight.device)
        if mask_seed is None or not self.dropout:
            return Delta(value, groups)
        return Delta(value / (1 - self.dropout), groups, mask_seed, self.dropout)

    def grad_theta(self, grad_value: Tensor, theta: Tensor, mask_seed: Tensor | None) -> Tensor:
        """The gradient of the vector, (d,), for that of the value of `delta`, (d,)."""
        if mask_seed is not None:
            grad_value = grad_value / (1 - self.dropout)
        return (grad_value * self.partition.scale(grad_value.dtype, grad_value.device)).to(theta)


def numbered(number: int) -> LayerSlice:
    """The slice of this number, as long as it lives.

    Raises:
        KeyError: if there is none, as in another process than that which made it.
    """
    return _SLICES[number]
