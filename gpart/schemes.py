"""Which group each adapted weight belongs to: pure functions of the number of groups, a seed and the layers' sizes.

A scheme is either stateless, when it computes the group of any position by itself, or tabulated, when all groups come
out of one seeded generator at once. Whoever changes the groups that a scheme gives raises its `version`.
"""

from __future__ import annotations

from gpart.blocks import groups_at
from gpart.hashing import hash_groups

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]
import torch
from torch import Tensor

# Temporaries of this many int64 stay in the processor's cache.
_CHUNK = 1 << 18
# Bytes per position while a permutation is inverted: itself (8), groups in its order (4, and 8 for the index that
# torch.repeat_interleave makes), groups by position (4).
_BALANCED_BYTES = 24


@dataclass(frozen=True)
class Scheme:
    """A way to assign positions to groups.

    Attributes:
        name: as in `GPartConfig(scheme=NAME)`.
        version: raised when the same arguments give other groups.
        at: `(positions, d, seed)` to the groups of int64 `positions`, on their device; None if tabulated.
        table: `(d, seed, layer_sizes)` to the groups of all positions, int32 on the CPU; None if stateless.
        in_blocks: whether layers are spread and summed block by block (`gpart.blocks`), without any group number.
    """

    name: str
    version: int
    at: Callable[[Tensor, int, int], Tensor] | None = None
    table: Callable[[int, int, Sequence[int]], Tensor] | None = None
    in_blocks: bool = False

    @property
    def stateless(self) -> bool:
        """Whether groups are computed position by position."""
        return self.at is not None

    def interval(self, start: int, stop: int, d: int, seed: int, device: torch.device) -> Tensor:
        """Groups of the positions from `start` to `stop` by a stateless scheme, int32 on `device`.

        Temporaries have a bounded size, whatever the interval's.
        """
        assert self.at is not None
        chunks = [
            self.at(torch.arange(low, min(low + _CHUNK, stop), device=device), d, seed).to(torch.int32)
            for low in range(start, stop, _CHUNK)
        ]
        return torch.cat(chunks) if chunks else torch.empty(0, dtype=torch.int32, device=device)


def iid_table(d: int, seed: int, layer_sizes: Sequence[int]) -> Tensor:
    """Independent uniform draws, layer by layer from one generator: the authors' backend `materialized`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([torch.randint(0, d, (n,), generator=generator, dtype=torch.int32) for n in layer_sizes])


def balanced_table(d: int, seed: int, layer_sizes: Sequence[int]) -> Tensor:
    """A random permutation cut into d chunks, the first N mod d of them one longer (the paper; commit 342960d).

    Raises:
        ValueError: if the permutation would not fit in this machine's free memory.
    """
    n = sum(layer_sizes)
    needed, free = _BALANCED_BYTES * n, psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"scheme: 'balanced' permutes all N={n} adapted weights, which takes {needed} bytes of which {free} are "
            "free; accepted here is scheme='hash', which permutes nothing"
        )
    permutation = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    sizes = torch.full((d,), n // d)
    sizes[: n % d] += 1
    groups = torch.empty(n, dtype=torch.int32)
    groups[permutation] = torch.repeat_interleave(torch.arange(d, dtype=torch.int32), sizes)
    return groups


def scheme_named(name: str) -> Scheme:
    """The registered scheme of this name.

    Raises:
        ValueError: naming what is registered.
    """
    if name not in SCHEMES:
        raise ValueError(f"scheme: {name!r} is unknown; accepted are {', '.join(map(repr, SCHEMES))}")
    return SCHEMES[name]


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("balanced", version=1, table=balanced_table),
        Scheme("block", version=1, at=groups_at, in_blocks=True),
        Scheme("hash", version=1, at=hash_groups),
        Scheme("iid", version=1, table=iid_table),
    )
}
