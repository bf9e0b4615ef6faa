"""Groups that compute by a Triton kernel where one is usable, and as their base class does elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gpart import kernels
from gpart.partition.block_groups import BlockGroups
from gpart.partition.groups import IndexedGroups


@dataclass(frozen=True)
class FusedHashGroups(IndexedGroups):
    """The groups of a layer's positions under the scheme `hash`.

    Attributes:
        start: position of the layer's first entry.
        seed: of the partition.
    """

    start: int
    seed: int

    def added(self, weight: Tensor, value: Tensor) -> Tensor:
        """See `Groups.added`."""
        if not kernels.adds(weight, value):
            return super().added(weight, value)
        from gpart.kernels import launch

        return launch.add_hash(weight, value, self.start, self.seed)

    def segment_sum(self, gradient: Tensor, d: int) -> Tensor:
        """See `Groups.segment_sum`."""
        if not kernels.usable(gradient):
            return super().segment_sum(gradient, d)
        from gpart.kernels import launch

        return launch.segment_sum_hash(gradient, d, self.start, self.seed)


@dataclass(frozen=True)
class FusedBlockGroups(BlockGroups):
    """The groups of a layer's positions under the scheme `block`."""

    def added(self, weight: Tensor, value: Tensor) -> Tensor:
        """See `Groups.added`."""
        if not kernels.adds(weight, value):
            return super().added(weight, value)
        from gpart.kernels import launch

        return launch.add_blocks(weight, value, self.start, self.permutations)

    def segment_sum(self, gradient: Tensor, d: int) -> Tensor:
        """See `Groups.segment_sum`."""
        if not kernels.usable(gradient):
            return super().segment_sum(gradient, d)
        from gpart.kernels import launch

        return launch.segment_sum_blocks(gradient, d, self.start, self.permutations)
