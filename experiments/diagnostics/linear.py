"""A map that is linear: its Gram matrix, and the groups of a partition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from peft.tuners.unilora.layer import UniLoraLayer
from torch import Tensor

from baselines import Adapted
from baselines.injection import ADAPTER
from experiments.diagnostics.derivative import Derivative, OneEntryPerRow
from experiments.diagnostics.jacobian import column_norms
from experiments.diagnostics.weight_map import TOLERANCE, Block, WeightMap
from schema.diagnostics import Gram, Occupancy

SAMPLED = 64
"""Columns per block of a map whose columns overlap."""


@torch.no_grad()
def is_linear(weight_map: WeightMap, generator: torch.Generator) -> bool:
    """Whether phi(x + y) - phi(x) = phi(y) - phi(0) at random points: of a linear map, and of hardly another."""
    x, y = torch.randn(2, weight_map.parameters, dtype=torch.float64, generator=generator).to(weight_map.device)
    points = [weight_map.pieces(point) for point in (x + y, x, y, torch.zeros_like(x))]
    for weight in weight_map.weights:
        both, one, other, none = (weight_map.change(point, weight) for point in points)
        if (both - one - other + none).abs().max() > TOLERANCE * both.abs().max():
            return False
    return True


class Columns:
    """The columns of a linear map's matrix P, block by block: lengths and products, exact or of a sample.

    Args:
        weight_map: a linear map.
        generator: of the sample.
    """

    def __init__(self, weight_map: WeightMap, generator: torch.Generator) -> None:
        self._map, self._generator = weight_map, generator
        zero = torch.zeros(weight_map.parameters, dtype=torch.float64, device=weight_map.device)
        self._point = weight_map.pieces(zero)
        self._blocks = [(block, self._derivative(block)) for block in weight_map.blocks()]

    def _derivative(self, block: Block) -> Derivative:
        return Derivative(self._map, block, self._point)

    def gram(self, dtype: torch.dtype = torch.float64) -> Gram:
        """`gram` of the record, P's entries rounded to `dtype`."""
        parts = [self._gram(block, derivative, dtype) for block, derivative in self._blocks]
        diagonals, off_diagonals, counts = zip(*parts, strict=True)
        return Gram(diagonal=max(diagonals), off_diagonal=max(off_diagonals), columns=sum(counts))

    def _gram(self, block: Block, derivative: Derivative, dtype: torch.dtype) -> tuple[float, float, int]:
        if block.identity:
            return 0.0, 0.0, derivative.columns
        rows = derivative.one_entry_per_row(self._generator)
        if rows is not None:
            norms = column_norms(rows, derivative.columns, dtype)
            return float((norms - 1).abs().max()), 0.0, derivative.columns
        gram = _sampled(derivative, dtype)
        off = gram - torch.diag(gram.diagonal())
        return float((gram.diagonal() - 1).abs().max()), float(off.abs().max()), len(gram)

    def group_sizes(self) -> Tensor | None:
        """Weights of each trained value if no weight depends on two of them, else None: (n,) int64."""
        sizes = []
        for _, derivative in self._blocks:
            rows = derivative.one_entry_per_row(self._generator)
            if rows is None:
                return None
            sizes.append(_counts(rows, derivative.columns))
        return torch.cat(sizes)


def _counts(rows: Iterable[OneEntryPerRow], columns: int) -> Tensor:
    total = torch.zeros(columns, dtype=torch.int64)
    for part in rows:
        total += torch.bincount(part.column[part.entry != 0], minlength=columns).cpu()
    return total


def _sampled(derivative: Derivative, dtype: torch.dtype) -> Tensor:
    """P^T P between evenly spaced columns, (k, k)."""
    count = min(SAMPLED, derivative.columns, max(2, 16 * derivative.at_once))
    chosen = torch.linspace(0, derivative.columns - 1, count).round().long()
    unit = torch.zeros(count, derivative.columns, dtype=torch.float64, device=derivative.device)
    unit[torch.arange(count), chosen] = 1
    columns = torch.cat([derivative.times(part) for part in unit.split(derivative.at_once)])
    rounded = columns.to(dtype).to(torch.float64)
    return rounded @ rounded.T


def occupancy(adapted: Adapted, columns: Columns | None) -> Occupancy | None:
    """`occupancy` of the record: of a map that is a partition its groups; of Uni-LoRA the uses of its vector's entries.

    Args:
        adapted: the model.
        columns: of the map where it is linear.
    """
    sizes = _uses(adapted) if columns is None else columns.group_sizes()
    if sizes is None:
        return None
    values, counts = sizes.unique(return_counts=True)
    numbers = sizes.to(torch.float64)
    return Occupancy(
        groups=len(sizes),
        weights=int(sizes.sum()),
        dead=int((sizes == 0).sum()),
        min=int(sizes.min()),
        mean=float(numbers.mean()),
        max=int(sizes.max()),
        std=float(numbers.std(correction=0)),
        sizes=values.tolist(),
        counts=counts.tolist(),
    )


def _uses(adapted: Adapted) -> Tensor | None:
    layers: list[UniLoraLayer] = [module for module in adapted.model.modules() if isinstance(module, UniLoraLayer)]
    if not layers:
        return None
    indices: list[Mapping[str, Tensor]] = [ids for m in layers for ids in (m.unilora_indices_A, m.unilora_indices_B)]
    length = layers[0].unilora_theta_d[ADAPTER].numel()
    return torch.bincount(torch.cat([ids[ADAPTER].flatten().cpu() for ids in indices]), minlength=length)
