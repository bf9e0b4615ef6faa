"""The Jacobian of one independent block of a weight map at one point, as products with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from experiments.diagnostics.weight_map import Block, Weight, WeightMap, split

MOST_ENTRIES = 2**20
"""Entries of weights that products of several vectors at once may hold in one piece: about what caches hold."""


class OneEntryPerRow(NamedTuple):
    """A matrix of which every row has at most one entry: its columns do not overlap.

    Attributes:
        entry: (N,), 0 in rows without any.
        column: (N,) int64, meaningless in rows without any.
    """

    entry: Tensor
    column: Tensor


class Derivative:
    """J (N, n) of a block of the map at a point, for the trained tensors `live` of the block; the others stay fixed.

    Args:
        weight_map: the map.
        block: the part of it.
        point: all trained tensors, by number.
        live: numbers of the trained tensors in which the derivative is taken; None for all of the block.
    """

    def __init__(
        self, weight_map: WeightMap, block: Block, point: Mapping[int, Tensor], live: tuple[int, ...] | None = None
    ) -> None:
        self._map, self._block, self._point = weight_map, block, point
        self.live = block.trained if live is None else live
        self._shapes = [(i, weight_map.trained[i].shape) for i in self.live]
        self.columns = sum(prod(shape) for _, shape in self._shapes)
        self.weights = [weight_map.weights[k] for k in block.weights]
        self.rows = sum(prod(weight.shape) for weight in self.weights)
        self._at = torch.cat([point[i].reshape(-1) for i in self.live]) if self.live else torch.empty(0)

    def _function(self, weights: list[Weight]) -> Callable[[Tensor], Tensor]:
        def changes(values: Tensor) -> Tensor:
            pieces = {**self._point, **split(values, self._shapes)}
            parts = [self._map.change(pieces, weight).reshape(-1) for weight in weights]
            return parts[0] if len(parts) == 1 else torch.cat(parts)

        return changes

    @cached_property
    def _pullback(self) -> Callable[[Tensor], tuple[Tensor]]:
        pullback: Callable[[Tensor], tuple[Tensor]] = vjp(self._function(self.weights), self._at)[1]
        return pullback

    @cached_property
    def _pushforward(self) -> Callable[[Tensor], tuple[Tensor]]:
        # The transpose of the transpose, which is linear, needs the map's own values no second time, unlike jvp.
        nothing = torch.zeros(self.rows, dtype=self._at.dtype, device=self.device)
        pushforward: Callable[[Tensor], tuple[Tensor]] = vjp(lambda u: self._pullback(u)[0], nothing)[1]
        return pushforward

    def times(self, vectors: Tensor) -> Tensor:
        """J v of each row v: (k, n) to (k, N)."""
        return torch.cat([vmap(self._pushforward)(part)[0] for part in vectors.split(self.at_once)])

    def transposed_times(self, vectors: Tensor) -> Tensor:
        """J^T u of each row u: (k, N) to (k, n)."""
        return torch.cat([vmap(self._pullback)(part)[0] for part in vectors.split(self.at_once)])

    @property
    def device(self) -> torch.device:
        """Of the vectors."""
        return self._at.device

    @property
    def at_once(self) -> int:
        """How many vectors to multiply at once."""
        return max(1, MOST_ENTRIES // max(1, self.rows))

    def gram_rows(self, columns: Tensor) -> Tensor:
        """The given rows of J^T J: (k,) to (k, n)."""
        rows = []
        for part in columns.split(self.at_once):
            unit = torch.zeros(len(part), self.columns, dtype=self._at.dtype, device=self._at.device)
            unit[torch.arange(len(part)), part] = 1
            rows.append(self.transposed_times(self.times(unit)))
        return torch.cat(rows)

    def without_still_tensors(self, generator: torch.Generator) -> tuple[Derivative, int]:
        """The derivative in those trained tensors that change anything, and the number of values in the others.

        A tensor changes nothing if a random direction in it does not: exactly, since a factor that is zero makes
        exact zeros.
        """
        moving = []
        for index in self.live:
            one = Derivative(self._map, self._block, self._point, (index,))
            if self.weights and bool(one.times(random_signs(1, one, generator)).count_nonzero()):
                moving.append(index)
        reduced = Derivative(self._map, self._block, self._point, tuple(moving))
        return reduced, self.columns - reduced.columns

    def one_entry_per_row(self, generator: torch.Generator) -> Iterator[OneEntryPerRow] | None:
        """J by weight if none of its rows has two entries, else None.

        Then J 1 is the entries, J (1, ..., n) over J 1 the columns, and a random vector, on which another matrix agrees
        with probability zero, confirms both.
        """
        counting = torch.arange(1, self.columns + 1, dtype=self._at.dtype, device=self._at.device)
        vectors = torch.stack([torch.ones_like(counting), counting, random_signs(1, self, generator)[0]])
        for weight in self.weights:
            if self._read_off(vectors, weight) is None:
                return None
        return (part for weight in self.weights if (part := self._read_off(vectors, weight)) is not None)

    def _read_off(self, vectors: Tensor, weight: Weight) -> OneEntryPerRow | None:
        function = self._function([weight])
        entry, counted, confirmed = vmap(lambda vector: jvp(function, (self._at,), (vector,))[1])(vectors)
        column = torch.where(entry == 0, 0, counted / entry).round().long() - 1
        column = column.clamp(0, self.columns - 1)
        scale = entry.abs().max()
        matches = (entry * vectors[1][column] - counted).abs().max() <= 1e-12 * scale * self.columns
        confirms = (entry * vectors[2][column] - confirmed).abs().max() <= 1e-12 * scale
        return OneEntryPerRow(entry, column) if bool(matches & confirms) else None


def random_signs(count: int, derivative: Derivative, generator: torch.Generator) -> Tensor:
    """Vectors of trained values, (count, n), of sizes between 1/2 and 1 and random signs."""
    draw = torch.rand(count, derivative.columns, dtype=torch.float64, generator=generator) - 0.5
    return (draw + torch.where(draw < 0, -0.5, 0.5)).to(derivative.device)
