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
from torch import Tensor

from gpart.hashing import hash_groups, splitmix64

#: Most positions in a block: 256 bytes of float32, four cache lines.
LONGEST = 64
#: Blocks in a chunk that a smaller block length is chosen for.
FEWEST_BLOCKS = 16
#: Draws for each chunk: the shift, then candidates of which the first coprime one is the multiplier.
_DRAWS = 64
#: Most blocks of which the products of two numbers fit int32, the faster type.
_INT32_BLOCKS = 46340
#: Chunks drawn at a time, so that temporaries stay small.
_CHUNKS_AT_ONCE = 1 << 12


def block_length(d: int) -> int:
    """Positions in a block: a power of two, at most `LONGEST`, such that a chunk has `FEWEST_BLOCKS` where d allows."""
    return min(LONGEST, 1 << max(0, (d // FEWEST_BLOCKS).bit_length() - 1))


@dataclass(frozen=True)
class Permutations:
    """The affine permutations of consecutive chunks, from chunk 0 on: three whole numbers of each.

    Attributes:
        blocks: K, the number of whole blocks in a chunk.
        length: positions in a block.
        multiplier: a, (chunks,).
        inverse: of a modulo K, (chunks,).
        shift: s, (chunks,).
    """

    blocks: int
    length: int
    multiplier: Tensor
    inverse: Tensor
    shift: Tensor

    @classmethod
    def drawn(cls, chunks: int, d: int, seed: int) -> Permutations:
        """The permutations of the first `chunks` chunks, on the CPU.

        The seed is hashed first: streams of neighbouring seeds would be shifts of each other.
        """
        length = block_length(d)
        blocks, stream = d // length, splitmix64(seed)
        pieces = [
            _draw(torch.arange(low, min(low + _CHUNKS_AT_ONCE, chunks)), blocks, stream)
            for low in range(0, chunks, _CHUNKS_AT_ONCE)
        ]
        multiplier, shift = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        distinct, which = multiplier.unique(return_inverse=True)
        inverse = torch.tensor([pow(a, -1, blocks) for a in distinct.tolist()])[which]
        dtype = torch.int32 if blocks <= _INT32_BLOCKS else torch.int64
        return cls(blocks, length, multiplier.to(dtype), inverse.to(dtype), shift.to(dtype))

    def map(self, change: Callable[[Tensor], Tensor]) -> Permutations:
        """The same with `change` made to each tensor."""
        return Permutations(self.blocks, self.length, *(change(t) for t in (self.multiplier, self.inverse, self.shift)))

    def to(self, device: torch.device) -> Permutations:
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
