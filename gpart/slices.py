"""The part of an adapter that falls on one tensor of a layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from gpart.compiled import numbered
from gpart.dropout import noise
from gpart.functional import Term, accumulation_dtype
from gpart.partition import Partition


@dataclass(frozen=True)
class LayerSlice:
    """The part of an adapter that falls on a layer's weight, or on its bias.

    Attributes:
        partition: of the adapter.
        index: of the tensor in the partition.
        dropout: probability that an entry of the change is dropped in training.
        keep_base: whether merging keeps a copy of the base weight.
        number: by which compiled graphs find it.
    """

    partition: Partition
    index: int
    dropout: float
    keep_base: bool
    number: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", numbered(self))

    def __reduce__(self) -> tuple[type[LayerSlice], tuple[Any, ...]]:
        # A copy, or what is unpickled in another process, has a number of its own.
        return LayerSlice, (self.partition, self.index, self.dropout, self.keep_base)

    def noise(self, tensor: Tensor) -> Tensor:
        """New noise of dropout on the change of `tensor`."""
        return noise(self.dropout, tensor)

    def term(self, theta: Tensor, weight: Tensor, noise: Tensor | None = None) -> Term:
        """The adapter's term for `weight`, with dropout if noise is given."""
        value = self.partition.scaled(theta, accumulation_dtype(weight.dtype), weight.device)
        groups = self.partition.layer_groups(self.index, weight.device)
        if noise is None or not self.dropout:
            return Term(value, groups)
        return Term(value / (1 - self.dropout), groups, noise, self.dropout)

    def for_theta(self, for_value: Tensor, theta: Tensor, noise: Tensor | None) -> Tensor:
        """The gradient to the vector, (d,), of that to the term's value."""
        if noise is not None:
            for_value = for_value / (1 - self.dropout)
        return (for_value * self.partition.scale(for_value.dtype, for_value.device)).to(theta)
