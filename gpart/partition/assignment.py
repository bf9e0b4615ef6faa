"""The groups of some layers' positions under one scheme, and what is kept of them in memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor

from gpart import kernels
from gpart.hashing import hash_groups
from gpart.partition.block_groups import BlockGroups, group_sizes
from gpart.partition.fused import FusedBlockGroups, FusedHashGroups
from gpart.partition.groups import GroupRange, Groups, IndexedGroups
from gpart.partition.permutations import Permutations
from gpart.partition.schemes import Scheme

_CPU = torch.device("cpu")
#: Positions whose groups are counted at a time.
_COUNTED_AT_ONCE = 1 << 22


class Assignment:
    """Gives each of n positions one of d groups, numbered from `first` on.

    Fixed once made; all but a table made of weights can be made again.

    Args:
        scheme: how positions get their groups.
        d: number of groups.
        seed: of the assignment.
        sizes: number of positions of each layer.
        weights: the base's weights, one tensor for each layer, for a scheme that reads them; it does so here, once, so
            that weights may change afterwards. There are no groups where one is on the meta device.
        cache_ids: whether the groups of a layer are kept; see `Partition`.
        first: number of the first group.
    """

    def __init__(
        self,
        scheme: Scheme,
        d: int,
        seed: int,
        sizes: Sequence[int],
        *,
        weights: Sequence[Tensor] | None = None,
        cache_ids: bool | None = None,
        first: int = 0,
    ) -> None:
        self.scheme, self.d, self.seed, self.first = scheme, d, seed, first
        self.sizes = list(sizes)
        self.offsets = [0, *accumulate(self.sizes)]
        self.n = self.offsets[-1]
        self._cache_ids = cache_ids
        self._ids: dict[tuple[int, torch.device], Tensor] = {}
        self._permutations: dict[torch.device, Permutations] = {}
        self._all_ids: Tensor | None = None
        if scheme.of_weights is not None:
            assert weights is not None
            if any(weight.is_meta for weight in weights):
                return
            with torch.inference_mode(False), torch.no_grad():
                flat = torch.cat([weight.reshape(-1).to("cpu", torch.float32) for weight in weights])
                self._all_ids = torch.func.debug_unwrap(scheme.of_weights(flat, d) + first)

    def __getstate__(self) -> dict[str, object]:
        table = self._all_ids if self.scheme.of_weights else None
        return self.__dict__ | {"_ids": {}, "_permutations": {}, "_all_ids": table}

    def at(self, positions: Tensor) -> Tensor:
        """Groups of int64 `positions` on the CPU: int64, of the same shape."""
        if self.scheme.at is not None:
            return self.scheme.at(positions, self.d, self.seed) + self.first
        return self._table[positions].long()

    def interval(self, start: int, stop: int, device: torch.device = _CPU) -> Tensor:
        """Groups of the positions from `start` to `stop`: (stop - start,) int32 on `device`."""
        if self.scheme.stateless:
            ids = self.scheme.interval(start, stop, self.d, self.seed, device)
            return ids + self.first if self.first else ids
        return self._table[start:stop].to(device)

    def layer_ids(self, index: int, device: torch.device) -> Tensor:
        """Groups of the `index`-th layer's positions: (size,) int32 on `device`."""
        key = (index, device)
        if key in self._ids:
            return self._ids[key]
        with torch.inference_mode(False):
            ids = self.interval(self.offsets[index], self.offsets[index + 1], device)
        # Inside a transform of torch.func even constants come wrapped; what is kept must outlive it.
        ids = torch.func.debug_unwrap(ids)
        if self._caches_on(device):
            self._ids[key] = ids
        return ids

    def layer_groups(self, index: int, device: torch.device, whole: bool = True) -> Groups:
        """The groups of the `index`-th layer's positions, by which values are gathered and gradients summed.

        Args:
            index: of the layer.
            device: of the values.
            whole: whether there are no other groups than these d.
        """
        start, stop, fused = self.offsets[index], self.offsets[index + 1], kernels.chosen(device)
        ids = partial(self.layer_ids, index, device)
        groups: Groups
        if self.scheme.in_blocks:
            kind = FusedBlockGroups if fused else BlockGroups
            groups = kind(start, stop, self.d, self._permutations_on(device))
        elif self.scheme.at is hash_groups and fused:
            groups = FusedHashGroups(ids if whole else lambda: ids() - self.first, start, self.seed)
        else:
            return IndexedGroups(ids)
        return groups if whole else GroupRange(groups, self.first, self.d)

    def _permutations_on(self, device: torch.device) -> Permutations:
        if device not in self._permutations:
            with torch.inference_mode(False):
                drawn = Permutations.drawn(-(-self.n // self.d), self.d, self.seed)
                self._permutations[device] = drawn.to(device).map(torch.func.debug_unwrap)
        return self._permutations[device]

    def _caches_on(self, device: torch.device) -> bool:
        if self._cache_ids is not None:
            return self._cache_ids
        return not self.scheme.in_blocks and (device.type == "cpu" or not self.scheme.stateless)

    @property
    def _table(self) -> Tensor:
        if self._all_ids is None:
            if self.scheme.table is None:
                raise ValueError(
                    f"weights: are on the meta device; accepted where groups of scheme={self.scheme.name!r} are asked "
                    "for are weights with values"
                )
            with torch.inference_mode(False):
                table = self.scheme.table(self.d, self.seed, self.sizes)
                self._all_ids = torch.func.debug_unwrap(table + self.first)
        return self._all_ids

    def counted(self, device: torch.device) -> Tensor:
        """Number of positions in each group: (d,) int64 on the CPU, counted on `device`.

        No groups are kept, since what is counted may be the plan of a model that does not fit in memory.
        """
        if self.scheme.in_blocks:
            return group_sizes(self.n, self.d, self._permutations_on(_CPU))
        sizes = torch.zeros(self.d, dtype=torch.int64, device=device)
        with torch.inference_mode(False):
            for start in range(0, self.n, _COUNTED_AT_ONCE):
                groups = self.interval(start, min(start + _COUNTED_AT_ONCE, self.n), device)
                sizes += torch.bincount(groups - self.first if self.first else groups, minlength=self.d)
        return sizes.cpu()

    @property
    def cached_bytes(self) -> int:
        """Bytes of state that grows with the weights held at present, on all devices together."""
        tables = [] if self._all_ids is None else [self._all_ids]
        storages = [ids.untyped_storage() for ids in [*self._ids.values(), *tables]]
        tables_of_ids = sum({s.data_ptr(): s.nbytes() for s in storages}.values())
        return tables_of_ids + sum(permutations.nbytes for permutations in self._permutations.values())
