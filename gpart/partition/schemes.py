"""Which group each adapted weight belongs to: pure functions of the number of groups, a seed and the layers' sizes.

A scheme is either stateless, when it computes the group of any position by itself, or tabulated, when all groups come
out at once, of one seeded generator or of the weights. Whoever changes the groups that a scheme gives raises its
`version`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

from gpart.hashing import hash_groups
from gpart.partition.permutations import groups_at

# Positions at a time: elsewhere than on the CPU, and on it, where temporaries are to stay in the cache.
_AT_ONCE = (1 << 18, 1 << 15)
# Bytes per position while a permutation is inverted: itself (8), groups in its order (4, and 8 for the index that
# torch.repeat_interleave makes), groups by position (4).
_BALANCED_BYTES = 24
# The same while layers are drawn and put together: int32, twice.
_IID_BYTES = 8
# The same while weights are sorted: all of them (4); of one side, which may be all, the positions (8), sizes (4), keys
# with one temporary (8), sorted keys and their order (12), ranks (8) and groups (8); groups by position (4).
_SORTED_BYTES = 56


@dataclass(frozen=True)
class Scheme:
    """A way to assign positions to groups: by one of `at`, `table` and `of_weights`.

    Attributes:
        name: as in `GPartConfig(scheme=NAME)`.
        version: raised when the same arguments give other groups.
        at: `(positions, d, seed)` to the groups of int64 `positions`, on their device.
        table: `(d, seed, layer_sizes)` to the groups of all positions, int32 on the CPU.
        of_weights: `(weights, d)` to the same, of the base's weights (N,), float32 on the CPU.
        fills: whether no group is ever empty, whatever the seed and the weights.
        in_blocks: whether values are gathered and summed in blocks (`gpart.partition.block_groups`), without group
            numbers.
    """

    name: str
    version: int
    at: Callable[[Tensor, int, int], Tensor] | None = None
    table: Callable[[int, int, Sequence[int]], Tensor] | None = None
    of_weights: Callable[[Tensor, int], Tensor] | None = None
    fills: bool = False
    in_blocks: bool = False

    @property
    def stateless(self) -> bool:
        """Whether groups are computed position by position."""
        return self.at is not None

    def interval(self, start: int, stop: int, d: int, seed: int, device: torch.device) -> Tensor:
        """Groups of the positions from `start` to `stop` by a stateless scheme: (stop - start,) int32 on `device`.

        Temporaries have a bounded size, whatever the interval's.
        """
        assert self.at is not None
        step = _AT_ONCE[device.type == "cpu"]
        groups = torch.empty(stop - start, dtype=torch.int32, device=device)
        for low in range(start, stop, step):
            positions = torch.arange(low, min(low + step, stop), device=device)
            groups[low - start : low - start + step] = self.at(positions, d, seed)
        return groups


def iid_table(d: int, seed: int, layer_sizes: Sequence[int]) -> Tensor:
    """Independent uniform draws, layer by layer from one generator: the authors' backend `materialized`; (N,) int32.

    Raises:
        ValueError: if the draws would not fit in this machine's free memory.
    """
    n = sum(layer_sizes)
    _check_memory("iid", "draws", n, _IID_BYTES * n)
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([torch.randint(0, d, (n,), generator=generator, dtype=torch.int32) for n in layer_sizes])


def balanced_table(d: int, seed: int, layer_sizes: Sequence[int]) -> Tensor:
    """A random permutation cut into d chunks, the first N mod d of them one longer (the paper; commit 342960d).

    Returns:
        the group of each position, (N,) int32.

    Raises:
        ValueError: if the permutation would not fit in this machine's free memory.
    """
    n = sum(layer_sizes)
    _check_memory("balanced", "permutes", n, _BALANCED_BYTES * n)
    permutation = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    sizes = torch.full((d,), n // d)
    sizes[: n % d] += 1
    groups = torch.empty(n, dtype=torch.int32)
    groups[permutation] = torch.repeat_interleave(torch.arange(d, dtype=torch.int32), sizes)
    return groups


def signed_magnitude_table(weights: Tensor, d: int) -> Tensor:
    """Groups of neighbours by size among the weights of one sign: the authors' ablation `signed_magnitude`; (n,) int32.

    Negative weights have the first k groups, k = d times their share, rounded half to even, but at least one and at
    most d - 1; the others, zeros among them, have the rest. Each side is sorted by size and cut into runs whose lengths
    differ by at most one.

    Raises:
        ValueError: if the sorting would not fit in this machine's free memory.
    """
    n = weights.numel()
    _check_memory("signed_magnitude", "sorts", n, _SORTED_BYTES * n)
    negative = weights < 0
    n_negative = int(negative.sum())
    if n_negative in (0, n):
        return _runs_by_size(weights.abs(), torch.arange(n), d)
    groups = torch.zeros(n, dtype=torch.int32)
    if d > 1:
        k = min(max(round(d * n_negative / n), 1), d - 1)
        for side, count, first in ((negative, k, 0), (~negative, d - k, k)):
            positions = side.nonzero().squeeze(1)
            groups[positions] = first + _runs_by_size(weights[positions].abs(), positions, count)
    return groups


def _runs_by_size(sizes: Tensor, positions: Tensor, k: int) -> Tensor:
    """The run (0 to k - 1) of each size, (n,) int32: run j has the ranks from floor(j n / k) to floor((j + 1) n / k).

    The authors sort by size * (n + 1) + position / (n + 1) in float32, meant to break ties by position; where sizes
    differ by less than the difference of positions over (n + 1)^2, it is position that decides.
    """
    n = sizes.numel()
    order = torch.argsort(sizes * (n + 1) + positions.float() / (n + 1), stable=True)
    groups = torch.empty(n, dtype=torch.int32)
    groups[order] = (((torch.arange(n) + 1) * k - 1) // n).to(torch.int32)
    return groups


def _check_memory(scheme: str, does: str, n: int, needed: int) -> None:
    free = psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"scheme: {scheme!r} {does} all N={n} adapted weights, which takes {needed} bytes of which {free} are "
            f"free; accepted here is scheme='hash', which {does} nothing"
        )


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
        Scheme("balanced", version=1, table=balanced_table, fills=True),
        Scheme("block", version=1, at=groups_at, fills=True, in_blocks=True),
        Scheme("hash", version=1, at=hash_groups),
        Scheme("iid", version=1, table=iid_table),
        Scheme("signed_magnitude", version=1, of_weights=signed_magnitude_table, fills=True),
    )
}
