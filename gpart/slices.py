"""The part of an adapter that falls on one tensor of a layer."""

from __future__ import annotations

from gpart.compiled import numbered
from gpart.functional import Term, accumulation_dtype
from gpart.partition import Partition

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


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

    def mask(self, weight: Tensor) -> Tensor:
        """A new dropout mask from torch's generator, held until backward: one byte per entry of the weight."""
        if not self.dropout:
            return torch.ones(weight.shape, dtype=torch.bool, device=weight.device)
        return torch.rand(weight.shape, device=weight.device) >= self.dropout

    def term(self, theta: Tensor, weight: Tensor, kept: Tensor | None = None) -> Term:
        """The adapter's term for `weight`, with the mask if one is given."""
        value = self.partition.scaled(theta, accumulation_dtype(weight.dtype), weight.device)
        if kept is not None:
            value = value / (1 - self.dropout)
        return Term(value, self.partition.layer_groups(self.index, weight.device), kept)

    def for_theta(self, for_value: Tensor, theta: Tensor, kept: Tensor | None) -> Tensor:
        """The gradient to the vector, (d,), of that to the term's value."""
        if kept is not None:
            for_value = for_value / (1 - self.dropout)
        return (for_value * self.partition.scale(for_value.dtype, for_value.device)).to(theta)
