"""The groups of the scheme `block`: P theta by copies of whole blocks, P^T g by sums of chunks in a fixed order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gpart.numerics import accumulation_dtype, underived
from gpart.partition.groups import Groups
from gpart.partition.permutations import Permutations

#: Entries of a gradient brought into the order of groups at a time: elsewhere than on the CPU, and on it, where they
#: are to stay in the cache.
_AT_ONCE = (1 << 24, 1 << 18)


def group_sizes(n: int, d: int, permutations: Permutations) -> Tensor:
    """Positions in each group: (d,) int64. Every whole chunk has one for each; the last one for those it reaches."""
    whole, rest = divmod(n, d)
    reached = BlockGroups(whole * d, n, d, permutations).segment_sum(torch.ones(rest), d)
    return reached.long() + whole


@dataclass(frozen=True)
class BlockGroups(Groups):
    """The groups of the positions from `start` to `stop`.

    Attributes:
        start: first position.
        stop: behind the last position.
        d: number of groups, the length of a chunk.
        permutations: the chunks' permutations, on the device of the values.
    """

    start: int
    stop: int
    d: int
    permutations: Permutations

    @property
    def _whole(self) -> int:
        """Positions of a chunk in whole blocks; the others keep their place."""
        return self.permutations.blocks * self.permutations.length

    def gather(self, value: Tensor) -> Tensor:
        """Give each position the value of its group: (d,) to (stop - start,)."""
        length, whole = self.permutations.length, self._whole
        first, last = self.start // self.d, -(-self.stop // self.d)
        targets = self.permutations.targets(first, last).view(-1)
        skipped = self.start - first * self.d
        if whole == self.d:  # blocks follow each other without a gap, so that only those within the layer are copied
            targets = targets[skipped // length : -(-(self.stop - first * self.d) // length)]
            filled, skipped = value.view(-1, length).index_select(0, targets), skipped % length
        else:
            moved = value[:whole].view(-1, length).index_select(0, targets).view(-1, whole)
            filled = torch.cat([moved, value[whole:].expand(last - first, -1)], dim=1)
        return filled.view(-1)[skipped : skipped + self.stop - self.start]

    def segment_sum(self, gradient: Tensor, d: int) -> Tensor:
        """Sum over the positions of each group, in at least float32: (stop - start,) to (d,), chunk after chunk."""
        total = torch.zeros(d, dtype=accumulation_dtype(gradient.dtype), device=gradient.device)
        in_bags = self._sums_in_bags(gradient)
        for low, high in self._pieces():
            piece = gradient.narrow(0, low - self.start, high - low)
            padded = F.pad(piece, (low % d, -high % d)) if low % d or high % d else piece
            chunks, first = padded.view(-1, d), low // d
            step = len(chunks) if in_bags else max(1, _AT_ONCE[gradient.device.type == "cpu"] // d)
            for number, some in enumerate(chunks.split(step)):
                total = total + self._summed(some.to(total.dtype), first + number * step, in_bags)
        return total

    def _pieces(self) -> list[tuple[int, int]]:
        """The interval cut into a part of a chunk, whole chunks, and a part of a chunk; empty ones left out."""
        head = min(-(-self.start // self.d) * self.d, self.stop)
        tail = max(self.stop // self.d * self.d, head)
        cuts = [(self.start, head), (head, tail), (tail, self.stop)]
        return [(low, high) for low, high in cuts if low < high]

    def _sums_in_bags(self, gradient: Tensor) -> bool:
        """Whether the sum can be left to torch's embedding_bag, which reads once and copies nothing."""
        gapless = self._whole == self.d
        on_cpu = gradient.device.type == "cpu" and gradient.dtype == torch.float32
        return gapless and on_cpu and underived(gradient)

    def _summed(self, chunks: Tensor, first: int, in_bags: bool) -> Tensor:
        """The sum (d,) of whole chunks (chunks, d), the first of which has the number `first`, each in group order."""
        count, whole = chunks.shape[0], self._whole
        source = self.permutations.sources(first, first + count)
        row = torch.arange(0, source.numel(), self.permutations.blocks, dtype=source.dtype, device=source.device)
        source = source + row[:, None]
        blocks = chunks.narrow(1, 0, whole).reshape(-1, self.permutations.length)
        if in_bags:
            return F.embedding_bag(source.t(), blocks, mode="sum").view(-1)
        summed = blocks.index_select(0, source.view(-1)).view(count, whole).sum(0)
        return torch.cat([summed, chunks[:, whole:].sum(0)]) if whole < self.d else summed
