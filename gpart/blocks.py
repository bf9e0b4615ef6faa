"""The scheme `block`: runs of consecutive positions move together, by a permutation that is computed and not stored.

Positions are cut into chunks of d, and each chunk meets every group exactly once: balanced by construction, with group
sizes in closed form. Within a chunk, blocks of `block_length(d)` consecutive positions are permuted by an affine map
b -> (a b + s) mod K of the K whole blocks, with a and s drawn from (seed, chunk) and a coprime to K, so that the map
and its inverse are computed. Positions behind the last whole block keep their place. So P theta is made of contiguous
copies, and P^T g of contiguous sums in a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gpart import kernels
from gpart.functional import accumulation_dtype
from gpart.hashing import hash_groups, splitmix64

#: Most positions in a block: 256 bytes of float32, four cache lines.
LONGEST = 64
#: Blocks in a chunk that a smaller block length is chosen for.
FEWEST_BLOCKS = 16
#: Draws for each chunk: the shift, then candidates of which the first coprime one is the multiplier.
_DRAWS = 64
#: Most blocks of which the products of two numbers fit int32, the faster type.
_INT32_BLOCKS = 46340
#: Entries of a gradient brought into the order of groups at a time: elsewhere than on the CPU, and on it, where they
#: are to stay in the cache.
_AT_ONCE = (1 << 24, 1 << 18)
#: Chunks drawn at a time, so that temporaries stay small.
_CHUNKS_AT_ONCE = 1 << 12


def block_length(d: int) -> int:
    """Positions in a block: a power of two, at most `LONGEST`, such that a chunk has `FEWEST_BLOCKS` where d allows."""
    return min(LONGEST, 1 << max(0, (d // FEWEST_BLOCKS).bit_length() - 1))


@dataclass(frozen=True)
class Orders:
    """The affine permutations of consecutive chunks, from chunk 0 on: three whole numbers of each.

    Attributes:
        blocks: K, the number of whole blocks in a chunk.
        multiplier: a, (chunks,).
        inverse: of a modulo K, (chunks,).
        shift: s, (chunks,).
    """

    blocks: int
    multiplier: Tensor
    inverse: Tensor
    shift: Tensor

    @classmethod
    def drawn(cls, chunks: int, d: int, seed: int) -> Orders:
        """The permutations of the first `chunks` chunks, on the CPU.

        The seed is hashed first: streams of neighbouring seeds would be shifts of each other.
        """
        blocks, stream = d // block_length(d), splitmix64(seed)
        pieces = [
            _draw(torch.arange(low, min(low + _CHUNKS_AT_ONCE, chunks)), blocks, stream)
            for low in range(0, chunks, _CHUNKS_AT_ONCE)
        ]
        multiplier, shift = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        distinct, which = multiplier.unique(return_inverse=True)
        inverse = torch.tensor([pow(a, -1, blocks) for a in distinct.tolist()])[which]
        dtype = torch.int32 if blocks <= _INT32_BLOCKS else torch.int64
        return cls(blocks, multiplier.to(dtype), inverse.to(dtype), shift.to(dtype))

    def map(self, change: Callable[[Tensor], Tensor]) -> Orders:
        """The same with `change` made to each tensor."""
        return Orders(self.blocks, *(change(t) for t in (self.multiplier, self.inverse, self.shift)))

    def to(self, device: torch.device) -> Orders:
        """The same on another device."""
        return self.map(lambda t: t.to(device))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return 3 * self.shift.numel() * self.shift.element_size()

    def targets(self, first: int, last: int) -> Tensor:
        """The place of each whole block of the chunks from `first` to `last`: (last - first, K)."""
        return (self.multiplier[first:last, None] * self._numbers + self.shift[first:last, None]) % self.blocks

    def sources(self, first: int, last: int) -> Tensor:
        """The whole block that goes to each place, chunk by chunk: the inverse of `targets`, (last - first, K)."""
        return (self.inverse[first:last, None] * (self._numbers - self.shift[first:last, None])) % self.blocks

    @property
    def _numbers(self) -> Tensor:
        return torch.arange(self.blocks, dtype=self.shift.dtype, device=self.shift.device)


def _draw(chunks: Tensor, blocks: int, stream: int) -> tuple[Tensor, Tensor]:
    """Multiplier and shift of each chunk. None of 63 candidates fits one chunk in 10^6 of the worst K: 1 then."""
    draws = hash_groups(chunks[:, None] * _DRAWS + torch.arange(_DRAWS), blocks, stream)
    shift, candidates = draws[:, 0], draws[:, 1:]
    fits = _coprime(candidates, blocks)
    earliest = (fits * torch.arange(_DRAWS - 1, 0, -1)).argmax(1, keepdim=True)
    chosen = candidates.gather(1, earliest).squeeze(1)
    return torch.where(fits.any(1), chosen, 1), shift


def _coprime(values: Tensor, blocks: int) -> Tensor:
    """Whether values from 0 to blocks - 1 have no factor in common with it; by a table of all where that is less."""
    if values.numel() > blocks:
        return _coprime(torch.arange(blocks), blocks)[values]
    return torch.gcd(values, torch.tensor(blocks)) == 1


def groups_at(positions: Tensor, d: int, seed: int) -> Tensor:
    """Groups of int64 positions, any shape, on their device."""
    length = block_length(d)
    chunk, offset = positions // d, positions % d
    present, which = chunk.unique(return_inverse=True)
    blocks = d // length
    pieces = [_draw(part.cpu(), blocks, splitmix64(seed)) for part in present.split(_CHUNKS_AT_ONCE)]
    multiplier, shift = (torch.cat(parts).to(positions.device)[which] for parts in zip(*pieces, strict=True))
    moved = (multiplier * (offset // length) + shift) % blocks * length + offset % length
    return torch.where(offset < blocks * length, moved, offset)


def group_sizes(n: int, d: int, orders: Orders) -> Tensor:
    """Positions in each group: (d,) int64. Every whole chunk has one for each; the last one for those it reaches."""
    whole, rest = divmod(n, d)
    reached = BlockGroups(whole * d, n, d, orders).collect(torch.ones(rest), d)
    return reached.long() + whole


@dataclass(frozen=True)
class BlockGroups:
    """The groups of the positions from `start` to `stop`.

    Attributes:
        start: first position.
        stop: behind the last position.
        d: number of groups, the length of a chunk.
        orders: the chunks' permutations, on the device of the values.
    """

    start: int
    stop: int
    d: int
    orders: Orders

    @property
    def _length(self) -> int:
        return block_length(self.d)

    def spread(self, value: Tensor) -> Tensor:
        """Give each position the value of its group: (d,) to (stop - start,)."""
        length, whole = self._length, self.orders.blocks * self._length
        first, last = self.start // self.d, -(-self.stop // self.d)
        targets = self.orders.targets(first, last).view(-1)
        skipped = self.start - first * self.d
        if whole == self.d:  # blocks follow each other without a gap, so that only those within the layer are copied
            targets = targets[skipped // length : -(-(self.stop - first * self.d) // length)]
            filled, skipped = value.view(-1, length).index_select(0, targets), skipped % length
        else:
            moved = value[:whole].view(-1, length).index_select(0, targets).view(-1, whole)
            filled = torch.cat([moved, value[whole:].expand(last - first, -1)], dim=1)
        return filled.view(-1)[skipped : skipped + self.stop - self.start]

    def collect(self, gradient: Tensor, d: int) -> Tensor:
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
        gapless = self.orders.blocks * self._length == self.d
        on_cpu = gradient.device.type == "cpu" and gradient.dtype == torch.float32
        return gapless and on_cpu and kernels.underived(gradient)

    def _summed(self, chunks: Tensor, first: int, in_bags: bool) -> Tensor:
        """The sum (d,) of whole chunks (chunks, d), the first of which has the number `first`, each in group order."""
        count, whole = chunks.shape[0], self.orders.blocks * self._length
        source = self.orders.sources(first, first + count)
        row = torch.arange(0, source.numel(), self.orders.blocks, dtype=source.dtype, device=source.device)
        source = source + row[:, None]
        blocks = chunks.narrow(1, 0, whole).reshape(-1, self._length)
        if in_bags:
            return F.embedding_bag(source.t(), blocks, mode="sum").view(-1)
        summed = blocks.index_select(0, source.view(-1)).view(count, whole).sum(0)
        return torch.cat([summed, chunks[:, whole:].sum(0)]) if whole < self.d else summed
