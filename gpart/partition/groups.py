"""The groups of some positions as what is computed with them: W + P theta forward, P^T g backward.

The operations are torch's own index_select, index_add and sums, whose derivatives torch knows to every order and in
every mode, and which sum in a fixed order on the CPU (autograd's indexing backward does not).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gpart.numerics import accumulation_dtype, underived


class Groups(ABC):
    """The groups of n positions. `gather` and `segment_sum` are linear, and each other's adjoint."""

    @abstractmethod
    def gather(self, value: Tensor) -> Tensor:
        """Give each position the value of its group: (d,) to (n,)."""

    @abstractmethod
    def segment_sum(self, gradient: Tensor, d: int) -> Tensor:
        """Sum over the positions of each group, in at least float32: (n,) to (d,)."""

    def added(self, weight: Tensor, value: Tensor) -> Tensor:
        """The weight plus the value of each entry's group, summed in the accumulation type and rounded once.

        Args:
            weight: any shape of n entries.
            value: (d,), in the weight's accumulation type.

        Returns:
            shaped and typed like `weight`.
        """
        change = self.gather(value).view(weight.shape)
        if underived(weight, value):
            return change.add_(weight).to(weight.dtype)
        return (weight.to(accumulation_dtype(weight.dtype)) + change).to(weight.dtype)


@dataclass(frozen=True)
class IndexedGroups(Groups):
    """Groups by number.

    Attributes:
        ids: gives the group of each position, (n,).
    """

    ids: Callable[[], Tensor]

    def gather(self, value: Tensor) -> Tensor:
        """See `Groups.gather`."""
        return value.index_select(0, self.ids())

    def segment_sum(self, gradient: Tensor, d: int) -> Tensor:
        """See `Groups.segment_sum`."""
        gradient = gradient.to(accumulation_dtype(gradient.dtype))
        return torch.zeros(d, dtype=gradient.dtype, device=gradient.device).index_add(0, self.ids(), gradient)


@dataclass(frozen=True)
class GroupRange(Groups):
    """Groups that are a range of more, none of whose others reach the positions.

    Attributes:
        groups: those that do, numbered from 0 on.
        first: number of the first of them among all.
        count: how many they are.
    """

    groups: Groups
    first: int
    count: int

    def gather(self, value: Tensor) -> Tensor:
        """See `Groups.gather`."""
        return self.groups.gather(self._own(value))

    def segment_sum(self, gradient: Tensor, d: int) -> Tensor:
        """See `Groups.segment_sum`."""
        return F.pad(self.groups.segment_sum(gradient, self.count), (self.first, d - self.first - self.count))

    def added(self, weight: Tensor, value: Tensor) -> Tensor:
        """See `Groups.added`."""
        return self.groups.added(weight, self._own(value))

    def _own(self, value: Tensor) -> Tensor:
        return value.narrow(0, self.first, self.count)
