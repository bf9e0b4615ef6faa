"""Distances between weight changes over the distances between the points that give them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from experiments.diagnostics.snapshots import Snapshot
from experiments.diagnostics.weight_map import Weight, WeightMap
from schema.diagnostics import PathPoint, Ratios

MOST_VALUES = 2**32
"""Trained values or weights, whichever are more, that all random pairs together may have."""

Effect = Callable[[Mapping[int, Tensor], Weight, int], Tensor]
"""What trained tensors do to a weight; the number of the pair of points is for what is drawn once for both."""


@dataclass(frozen=True)
class RandomPairs:
    """Pairs of independent points, uniform on a sphere; the same ones each time that they are gone through.

    Attributes:
        center: (n,).
        radius: of the sphere.
        count: pairs.
        seed: of the draws.
    """

    center: Tensor
    radius: float
    count: int
    seed: int

    @classmethod
    def around(cls, weight_map: WeightMap, start: Tensor, kept: Tensor, count: int, seed: int) -> RandomPairs:
        """On the sphere around the start through the kept values, or of radius 1 where training moved nothing.

        Of a map too large for `count` pairs it has as many as `MOST_VALUES` allows. `start` and `kept` are (n,).
        """
        most = MOST_VALUES // max(weight_map.parameters, weight_map.size)
        return cls(start, float((kept - start).norm()) or 1.0, max(2, min(count, most)), seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.count):
            draw = torch.randn(2, len(self.center), dtype=torch.float64, generator=generator)
            points = self.center + (draw * (self.radius / draw.norm(dim=1, keepdim=True))).to(self.center.device)
            yield points[0], points[1]


def plain(weight_map: WeightMap) -> Effect:
    """The map itself."""
    return lambda pieces, weight, _: weight_map.change(pieces, weight)


@torch.no_grad()
def random_ratios(weight_map: WeightMap, effect: Effect, pairs: RandomPairs) -> Ratios:
    """`ratios` over random pairs, of anything that trained values do to the weights."""
    ratios = []
    for number, (a, b) in enumerate(pairs):
        first, second = weight_map.pieces(a), weight_map.pieces(b)
        squares = [
            (effect(first, weight, number).double() - effect(second, weight, number).double()).square().sum()
            for weight in weight_map.weights
        ]
        ratios.append(float(torch.stack(squares).sum().sqrt() / (a - b).norm()))
    return summary(ratios, pairs.radius)


@torch.no_grad()
def path_distances(weight_map: WeightMap, snapshots: Sequence[Snapshot]) -> tuple[Tensor, Tensor]:
    """Distances between all snapshots, of trained values and of weights: each (s, s)."""
    points = [weight_map.flat(snapshot.values) for snapshot in snapshots]
    pairs = list(combinations(range(len(points)), 2))
    between, squares = torch.zeros(2, len(points), len(points), dtype=torch.float64)
    for i, j in pairs:
        between[i, j] = between[j, i] = (points[i] - points[j]).norm()
    for weight in weight_map.weights:
        changes = [weight_map.change(weight_map.pieces(point), weight) for point in points]
        for i, j in pairs:
            squares[i, j] += (changes[i] - changes[j]).square().sum().cpu()
    return between, (squares + squares.T).sqrt()


def trained_ratios(between: Tensor, weights_between: Tensor) -> Ratios:
    """`ratios` over all pairs of snapshots that differ, from their distances, each (s, s)."""
    pairs = combinations(range(len(between)), 2)
    return summary([float(weights_between[i, j] / between[i, j]) for i, j in pairs if between[i, j] > 0])


def path(snapshots: Sequence[Snapshot], between: Tensor, weights_between: Tensor) -> list[PathPoint]:
    """The record's `path`: how far each snapshot is from the first, by the distances of `path_distances`, (s, s)."""
    return [
        PathPoint(
            step=snapshot.step,
            epoch=snapshot.epoch,
            distance=float(between[0, i]),
            weight_distance=float(weights_between[0, i]),
        )
        for i, snapshot in enumerate(snapshots)
    ]


def summary(ratios: Sequence[float], radius: float | None = None) -> Ratios:
    """Their number, moments, quantiles (linear interpolation) and the ratios, sorted; null where there are too few."""
    values = np.sort(np.asarray(ratios, dtype=np.float64))
    if not len(values):
        unknown = dict.fromkeys(("mean", "std", "min", "q05", "median", "q95", "max"))
        return Ratios(n=0, values=[], radius=radius, **unknown)
    low, q05, median, q95, high = (float(np.quantile(values, q)) for q in (0, 0.05, 0.5, 0.95, 1))
    return Ratios(
        n=len(values),
        mean=float(values.mean()),
        std=float(values.std(ddof=1)) if len(values) > 1 else None,
        min=low,
        q05=q05,
        median=median,
        q95=q95,
        max=high,
        values=values.tolist(),
        radius=radius,
    )
