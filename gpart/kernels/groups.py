"""Groups that sum by a kernel where one is usable, and as their base class does elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gpart import kernels
from gpart.blocks import BlockGroups
from gpart.functional import Groups, IndexedGroups, SomeGroups


@dataclass(frozen=True)
class FusedHashGroups(IndexedGroups):
    """The groups of a layer's positions under the scheme `hash`.

    Attributes:
        start: position of the layer's first entry.
        seed: of the partition.
    """

    start: int
    seed: int

    def collect(self, gradient: Tensor, d: int) -> Tensor:
        """See `gpart.functional.Groups`."""
        if not kernels.usable(gradient):
            return super().collect(gradient, d)
        from gpart.kernels import launch

        return launch.collect_hash(gradient, d, self.start, self.seed)


@dataclass(frozen=True)
class FusedBlockGroups(BlockGroups):
    """The groups of a layer's positions under the scheme `block`."""

    def collect(self, gradient: Tensor, d: int) -> Tensor:
        """See `gpart.functional.Groups`."""
        if not kernels.usable(gradient):
            return super().collect(gradient, d)
        from gpart.kernels import launch

        return launch.collect_blocks(gradient, d, self.start, self.orders)


def added(weight: Tensor, value: Tensor, groups: Groups) -> Tensor | None:
    """`gpart.kernels.added` where a kernel is usable; None where there is none for such groups."""
    from gpart.kernels import launch

    match groups:
        case SomeGroups():
            return added(weight, value.narrow(0, groups.first, groups.count), groups.groups)
        case FusedHashGroups():
            return launch.add_hash(weight, value, groups.start, groups.seed)
        case FusedBlockGroups():
            return launch.add_blocks(weight, value, groups.start, groups.orders)
    return None
