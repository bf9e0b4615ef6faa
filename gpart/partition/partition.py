"""The map P from d trained coordinates to all N adapted weights: (P theta)[i] = theta[g(i)] / sqrt(n[g(i)])."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from gpart.numerics import accumulation_dtype
from gpart.partition import schemes, scopes
from gpart.partition.assignment import Assignment
from gpart.partition.definition import AdaptedLayer, check_definition
from gpart.partition.groups import Groups
from gpart.partition.manifest import STAMP_DIGITS, canonical, difference, fingerprint, layers_stamp

#: Positions whose groups the digest covers, evenly spaced over all N.
DIGEST_POSITIONS = 4096


class Partition:
    """A partition of N weights into d groups, and the map P that it defines (arXiv 2605.14841, section 3).

    Each weight depends on one coordinate, so that the columns of P are orthogonal, and the scale 1/sqrt(group size)
    gives each the length one: P^T P = I, and distances between vectors are distances between weights. An object is
    fixed once made; it holds no more than caches beside its definition, so that copies of a model subpartition it.

    Args:
        scheme: how positions are assigned to groups, one of `gpart.partition.schemes.SCHEMES`.
        d: number of groups, from 1 to N.
        seed: of the assignment, from 0 to 2**64 - 1.
        layer_sizes: number of positions of each layer, in canonical order; or
        layers: the layers themselves, whose names and shapes then take part in the digest. Each is one tensor, its
            weight, or two, its weight and its bias; tensors are numbered through all layers.
        isometric: whether columns have length one; without, P[i, g(i)] = 1 and P^T P = diag(group sizes).
        scope: "global": every group may reach into every layer. "transformer_block": each block has its own part of
            the groups, of d divided evenly, and a seed of its own; see `gpart.partition.scopes`.
        blocks: the block of each layer, where the scope is "transformer_block".
        weights: the base's weights and biases, in order, where the scheme is "signed_magnitude"; they are read here
            and not kept, but their sha256 takes part in the digest. On the meta device they make a plan, without
            groups.
        cache_ids: whether the groups of a layer are kept (4 bytes per weight and device) or computed at each use.
            None keeps them on the CPU, and elsewhere only where the scheme is not stateless. "block" needs no groups.
        device: where group sizes are counted.

    Raises:
        ValueError: naming the argument, its value and what would be accepted.
    """

    def __init__(
        self,
        *,
        d: int,
        scheme: str = "hash",
        seed: int = 0,
        layer_sizes: Sequence[int] | None = None,
        layers: Sequence[AdaptedLayer] | None = None,
        isometric: bool = True,
        scope: str = "global",
        blocks: Sequence[str] | None = None,
        weights: Sequence[Tensor] | None = None,
        cache_ids: bool | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if (layers is None) == (layer_sizes is None):
            raise ValueError("layers, layer_sizes: exactly one of the two is needed")
        if layers is None:
            layers = [AdaptedLayer("", (int(size),)) for size in layer_sizes or ()]
        self.layers = tuple(layers)
        self.sizes = [size for layer in self.layers for size in layer.sizes]
        self.offsets = [0, *accumulate(self.sizes)]
        self.n = self.offsets[-1]
        self.scheme = schemes.scheme_named(scheme)
        check_definition(d=d, seed=seed, scope=scope, scheme=scheme, cache_ids=cache_ids)
        if d > self.n:
            raise ValueError(f"d: {d} exceeds the N={self.n} adapted weights; accepted are 1 to {self.n}")
        self.d, self.seed, self.isometric, self.scope = d, seed, isometric, scope
        self._weights = self._fingerprint(weights)
        self.blocks = blocks if blocks is None else list(blocks)
        self._assignments: list[Assignment] = []
        self._places: dict[int, tuple[Assignment, int]] = {}
        self._assign(weights, cache_ids)
        self._device = torch.device(device)
        self._scales: dict[tuple[torch.dtype, torch.device], Tensor] = {}
        self._sizes: Tensor | None = None

    def _assign(self, weights: Sequence[Tensor] | None, cache_ids: bool | None) -> None:
        """Make the assignments in the order of their coordinates, and note where in them each tensor is."""
        blocks = self.blocks
        if blocks is not None and len(blocks) == len(self.layers):
            blocks = [block for block, layer in zip(blocks, self.layers, strict=True) for _ in layer.sizes]
        for subpartition in scopes.subpartitions(self.scope, blocks, self.d, self.seed, self.sizes):
            assignment = Assignment(
                self.scheme,
                subpartition.d,
                subpartition.seed,
                [self.sizes[index] for index in subpartition.layers],
                weights=None if weights is None else [weights[index] for index in subpartition.layers],
                cache_ids=cache_ids,
                first=subpartition.first,
            )
            self._assignments.append(assignment)
            self._places |= {index: (assignment, place) for place, index in enumerate(subpartition.layers)}

    def _fingerprint(self, weights: Sequence[Tensor] | None) -> str | None:
        """`manifest.fingerprint` of the weights; None where the scheme does not read them, or they have no values.

        Raises:
            ValueError: if weights are needed and missing or of other sizes, or given and not needed.
        """
        if self.scheme.of_weights is None:
            if weights is not None:
                raise ValueError(f"weights: given; accepted with scheme={self.scheme.name!r} is None")
            return None
        if weights is None:
            raise ValueError(
                f"weights: missing; accepted with scheme={self.scheme.name!r} are the {len(self.sizes)} of all layers"
            )
        sizes = [weight.numel() for weight in weights]
        if sizes != self.sizes:
            raise ValueError(f"weights: have sizes {_few(sizes)}; accepted are those of the layers, {_few(self.sizes)}")
        return None if any(weight.is_meta for weight in weights) else fingerprint(weights)

    def __deepcopy__(self, memo: dict[int, object]) -> Partition:
        return self

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_scales": {}, "_sizes": None}

    def __repr__(self) -> str:
        return f"Partition({', '.join(f'{key}={value!r}' for key, value in self.definition.items())})"

    def group_ids(self, start: int, stop: int) -> Tensor:
        """Groups of the positions from `start` to `stop`: (stop - start,) int64 on the CPU.

        Raises:
            ValueError: unless 0 <= start <= stop <= N; or if the groups are of weights on the meta device.
        """
        if not 0 <= start <= stop <= self.n:
            raise ValueError(f"start, stop: {start}, {stop}; accepted are 0 <= start <= stop <= N={self.n}")
        pieces = [torch.empty(0, dtype=torch.int64)]
        for index, (low, high) in enumerate(zip(self.offsets, self.offsets[1:], strict=False)):
            first, last = max(start, low), min(stop, high)
            if first < last:
                assignment, place = self._places[index]
                shift = assignment.offsets[place] - low
                pieces.append(assignment.interval(first + shift, last + shift).long())
        return torch.cat(pieces)

    def layer_ids(self, index: int, device: torch.device) -> Tensor:
        """Groups of the `index`-th tensor's positions: (size,) int32 on `device`."""
        assignment, place = self._places[index]
        return assignment.layer_ids(place, device)

    def layer_groups(self, index: int, device: torch.device) -> Groups:
        """The groups of the `index`-th tensor's positions, by which values are gathered and gradients summed."""
        assignment, place = self._places[index]
        return assignment.layer_groups(place, device, whole=assignment.d == self.d)

    @property
    def group_sizes(self) -> Tensor:
        """Number of positions in each group: (d,) int64 on the CPU. Counting them warns of empty groups."""
        if self._sizes is None:
            with torch.inference_mode(False):
                self._sizes = torch.func.debug_unwrap(torch.cat([a.counted(self._device) for a in self._assignments]))
            if self.dead:
                warnings.warn(
                    f"{self.dead} of d={self.d} coordinates reach none of the N={self.n} adapted weights under "
                    f"scheme={self.scheme.name!r}; scheme='balanced' leaves no group empty",
                    stacklevel=2,
                )
        return self._sizes

    @property
    def dead(self) -> int:
        """Number of coordinates on which no weight depends."""
        return 0 if self.scheme.fills else int((self.group_sizes == 0).sum())

    @property
    def cached_bytes(self) -> int:
        """Bytes of state that grows with the weights held at present, on all devices together."""
        return sum(assignment.cached_bytes for assignment in self._assignments)

    def scale(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
        """Length of the entries of each column: (d,), 1/sqrt(group size), or ones if not isometric."""
        key = (dtype, torch.device(device))
        if key not in self._scales:
            with torch.inference_mode(False):
                sizes = self.group_sizes.clamp(min=1).to(dtype)
                scale = 1 / torch.sqrt(sizes) if self.isometric else torch.ones_like(sizes)
                self._scales[key] = torch.func.debug_unwrap(scale.to(device))
        return self._scales[key]

    def scaled(self, theta: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
        """What each group adds to its weights: theta times `scale`, (d,) in `dtype` on `device`."""
        return theta.to(device=device, dtype=dtype) * self.scale(dtype, device)

    def project(self, theta: Tensor) -> Tensor:
        """P theta: (d,) to (N,), at least float32, on theta's device."""
        self._check(theta, "theta", self.d)
        value = self.scaled(theta, accumulation_dtype(theta.dtype), theta.device)
        return torch.cat([self.layer_groups(i, theta.device).gather(value) for i in range(len(self.sizes))])

    def adjoint(self, delta: Tensor) -> Tensor:
        """P^T delta: (N,) to (d,), at least float32, on delta's device."""
        self._check(delta, "delta", self.n)
        dtype = accumulation_dtype(delta.dtype)
        pieces = zip(self.offsets, self.offsets[1:], strict=False)
        total = torch.zeros(self.d, dtype=dtype, device=delta.device)
        for index, (start, stop) in enumerate(pieces):
            total = total + self.layer_groups(index, delta.device).segment_sum(delta[start:stop], self.d)
        return total * self.scale(dtype, delta.device)

    def _check(self, value: Tensor, name: str, size: int) -> None:
        if value.shape != (size,):
            raise ValueError(f"{name}: has shape {tuple(value.shape)}; accepted is ({size},)")

    @property
    def definition(self) -> dict[str, str | int]:
        """What the groups are a function of, but for names and shapes of the layers."""
        values: dict[str, str | int] = {
            "scheme": self.scheme.name,
            "version": self.scheme.version,
            "d": self.d,
            "seed": self.seed,
            "isometric": self.isometric,
            "scope": self.scope,
            "N": self.n,
        }
        if self.blocks is not None:
            order = scopes.in_order(self.blocks)
            values["blocks"] = f"{len(order)}, from {order[0]} to {order[-1]}"
        if self._weights is not None:
            values["weights"] = self._weights
        return values

    @property
    def digest(self) -> str:
        """sha256 over the definition, the ordered layers, and the groups at `DIGEST_POSITIONS` positions.

        The groups are in it so that a change in torch's generators shows as well.
        """
        count = min(self.n, DIGEST_POSITIONS)
        positions = torch.tensor([i * self.n // count for i in range(count)])
        ids = self._groups_at(positions)
        digest = hashlib.sha256(canonical([self.definition, self._layer_list]))
        digest.update(ids.numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    def _groups_at(self, positions: Tensor) -> Tensor:
        """Groups of int64 positions on the CPU, at least one and in order: int64, of the same shape."""
        layers = torch.bucketize(positions, torch.tensor(self.offsets[1:]), right=True)
        pieces = []
        for index in layers.unique().tolist():
            assignment, place = self._places[index]
            pieces.append(assignment.at(positions[layers == index] - self.offsets[index] + assignment.offsets[place]))
        return torch.cat(pieces)

    @property
    def _layer_list(self) -> list[str]:
        return [str(layer) for layer in self.layers]

    @property
    def manifest(self) -> dict[str, str | int | list[str]]:
        """The partition in full, as adapter_config.json holds it."""
        return {**self.definition, "layers": self._layer_list, "digest": self.digest}

    @property
    def stamp(self) -> dict[str, str | int]:
        """The partition in short, as the file of weights holds it: hashes in place of the list and the digest."""
        layers = layers_stamp(self._layer_list)
        return {**self.definition, "layers": layers, "digest": self.digest[:STAMP_DIGITS]}

    def under(self, names: Sequence[str], blocks: Sequence[str] | None = None) -> Partition:
        """The same map, with other names for its layers, as a checkpoint may have them.

        Args:
            names: of the layers, in order.
            blocks: of each layer, where the scope is "transformer_block".
        """
        other = copy.copy(self)
        other.layers = tuple(layer._replace(name=name) for layer, name in zip(self.layers, names, strict=True))
        other.blocks = blocks if blocks is None else list(blocks)
        return other

    def mismatch(self, stored: Mapping[str, object]) -> str:
        """How a stored manifest or stamp differs from this partition, in one line; empty if it is the same."""
        return difference(stored, self.definition, self._layer_list, self.digest)


def _few(sizes: Sequence[int]) -> str:
    return f"{', '.join(map(str, sizes[:4]))}{', ...' if len(sizes) > 4 else ''} ({len(sizes)} in all)"
