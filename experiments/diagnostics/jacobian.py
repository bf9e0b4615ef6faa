"""How strongly the trained directions reach the weights at a point: extreme singular values and null directions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from experiments.diagnostics.derivative import Derivative, OneEntryPerRow
from experiments.diagnostics.krylov import NULL, ends
from experiments.diagnostics.weight_map import Block, WeightMap
from schema.diagnostics import JacobianPoint

Point = Literal["start", "training", "kept"]
PROBES = 16
"""Random vectors from which a large block is examined."""
SIGNAL = 1e-5
"""Singular value of the probes' null parts from which on they count as a direction; rounding leaves far less."""


@dataclass(frozen=True)
class Spectrum:
    """What is known of the singular values of one block.

    Attributes:
        largest: the largest; 0 where nothing changes anything.
        smallest: the smallest that is not zero; infinite where there is none.
        null: dimension of the directions that change nothing.
        variance: of `null` where it is an estimate, else 0.
        dense: whether the whole spectrum was computed.
        residual: of the extreme ones, relative to `largest`.
    """

    largest: float = 0.0
    smallest: float = float("inf")
    null: float = 0.0
    variance: float = 0.0
    dense: bool = True
    residual: float = 0.0


def measure_jacobian(
    weight_map: WeightMap,
    values: Tensor,
    dense_limit: int,
    generator: torch.Generator,
    *,
    point: Point,
    step: int | None,
) -> JacobianPoint:
    """The extreme singular values of the map's Jacobian at one point.

    Args:
        weight_map: the map.
        values: (n,), the point.
        dense_limit: up to so many trained values a block's whole spectrum is computed.
        generator: on the CPU, of what is drawn.
        point: the record's name of it.
        step: optimizer steps before it, where that is known.
    """
    pieces = weight_map.pieces(values)
    spectra = [_spectrum(weight_map, block, pieces, dense_limit, generator) for block in weight_map.blocks()]
    largest, smallest = max(s.largest for s in spectra), min(s.smallest for s in spectra)
    null, error = sum(s.null for s in spectra), 1.96 * sqrt(sum(s.variance for s in spectra))
    counted = error == 0
    kinds = {s.dense for s in spectra}
    return JacobianPoint(
        point=point,
        step=step,
        largest=largest,
        smallest=0.0 if null else smallest,
        condition=None if null else largest / smallest,
        null_directions=int(null) if counted else null,
        null_interval=None if counted else [max(0.0, null - error), min(float(weight_map.parameters), null + error)],
        smallest_nonzero=smallest if largest else None,
        condition_complement=largest / smallest if largest else None,
        method="mixed" if len(kinds) == 2 else "dense" if True in kinds else "matrix-free",
        residual=max(s.residual for s in spectra),
    )


def _spectrum(
    weight_map: WeightMap, block: Block, point: dict[int, Tensor], dense_limit: int, generator: torch.Generator
) -> Spectrum:
    if block.identity:
        return Spectrum(1.0, 1.0)
    whole = Derivative(weight_map, block, point)
    rows = whole.one_entry_per_row(generator)
    if rows is not None:
        return _of_eigenvalues(column_norms(rows, whole.columns), 0)
    moving, still = whole.without_still_tensors(generator)
    if moving.columns <= dense_limit:
        return _of_eigenvalues(_eigenvalues(moving), still)
    return _matrix_free(moving, still, generator)


def column_norms(rows: Iterable[OneEntryPerRow], columns: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Squared length of each column, (n,), with the entries rounded to `dtype`."""
    total = torch.zeros(columns, dtype=torch.float64)
    for part in rows:
        weights = part.entry.to(dtype).to(torch.float64).square()
        total += torch.bincount(part.column, weights, minlength=columns).cpu()
    return total


def _of_eigenvalues(eigenvalues: Tensor, still: int) -> Spectrum:
    """From the eigenvalues of J^T J.

    Rounding in J^T J hides singular values below the square root of float64's precision times the largest, which is why
    those below `NULL` of it count as zero.
    """
    largest = float(eigenvalues.max())
    kept = eigenvalues[eigenvalues > NULL**2 * largest]
    null = still + len(eigenvalues) - len(kept)
    return Spectrum(sqrt(largest), sqrt(float(kept.min())), null) if largest else Spectrum(null=null)


def _eigenvalues(derivative: Derivative) -> Tensor:
    """All eigenvalues of J^T J, one independent part of it after another: (n,)."""
    gram = derivative.gram_rows(torch.arange(derivative.columns))
    gram = (gram + gram.T) / 2
    joined = gram.abs() > torch.finfo(gram.dtype).eps * gram.diagonal().max()
    count, part = connected_components(csr_array(joined.cpu().numpy()), directed=False)
    if count == 1:
        return torch.linalg.eigvalsh(gram)
    members = [torch.from_numpy((part == number).nonzero()[0]).to(gram.device) for number in range(count)]
    return torch.cat([torch.linalg.eigvalsh(gram[m][:, m]) for m in members])


def _matrix_free(derivative: Derivative, still: int, generator: torch.Generator) -> Spectrum:
    """From products alone. The null space's dimension is counted where it is smaller than the number of probes.

    Otherwise it is estimated: the null part's share of a random vector's squared length has the distribution
    Beta(k/2, (n-k)/2) where the null space has dimension k, so that n times its mean over m probes has mean k and
    variance 2 k (n-k) / (n+2) / m.
    """
    draw = torch.randn(PROBES, derivative.columns, dtype=torch.float64, generator=generator)
    probes = draw.to(derivative.device)
    found = ends(derivative, probes)
    rank = int((torch.linalg.svdvals(found.null_parts) > SIGNAL).sum())
    if rank < PROBES:
        return Spectrum(found.largest, found.smallest, still + rank, 0.0, False, found.residual)
    null = float((found.null_parts.square().sum(1) / probes.square().sum(1)).mean()) * derivative.columns
    variance = 2 * null * (derivative.columns - null) / (derivative.columns + 2) / PROBES
    return Spectrum(found.largest, found.smallest, still + null, variance, False, found.residual)
