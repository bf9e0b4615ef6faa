"""Extreme singular values and the null space of a matrix that is known by its products alone.

Golub-Kahan bidiagonalisation (Golub and Kahan 1965) of J keeps J's own precision, not that of J^T J. Keeping its right
vectors orthogonal suffices (Simon and Zha 2000). It starts in the row space; what rounding lets in of the null space
grows, as of an eigenvector outside of the spectrum, until it shows as a singular value of zero and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

MOST_STEPS = 400
CHECKED_EVERY = 8
CONVERGED = 1e-8
"""Residual, relative to the largest singular value, at which an extreme triplet is taken."""
SETTLED = 1e-7
"""Part of a probe, whose entries are of size one, along the last right vectors at which its null part is taken."""
EXHAUSTED = 1e-8
"""Size of a new right vector, relative to the largest singular value, below which the Krylov space is exhausted."""
NULL = 1e-6
"""Singular values below this part of the largest count as zero."""


class Products(Protocol):
    """A matrix J (N, n) through products with rows of vectors."""

    columns: int

    def times(self, vectors: Tensor) -> Tensor:
        """(k, n) to (k, N)."""

    def transposed_times(self, vectors: Tensor) -> Tensor:
        """(k, N) to (k, n)."""


@dataclass(frozen=True)
class Ends:
    """What bidiagonalisations from several probes found.

    Attributes:
        largest, smallest: extreme singular values that are not zero.
        residual: the larger of the two triplets' residuals, relative to `largest`.
        null_parts: (k, n), of each probe the part in the null space.
    """

    largest: float
    smallest: float
    residual: float
    null_parts: Tensor


def ends(matrix: Products, probes: Tensor) -> Ends:
    """Bidiagonalise from the row-space part of each probe, all at once, until both ends have converged for each.

    The Krylov space of J^T J z holds the row-space part of z once it is exhausted, and its best approximation before:
    what is left of z outside it is the part in the null space.

    Args:
        matrix: J, not zero.
        probes: (k, n), standard normal.
    """
    limit = min(MOST_STEPS, matrix.columns)
    right = probes.new_empty(len(probes), limit, matrix.columns)
    vector = matrix.transposed_times(matrix.times(probes))
    vector = vector / vector.norm(dim=1, keepdim=True)
    left, beta = torch.zeros_like(matrix.times(vector)), torch.zeros_like(vector[:, 0])
    alphas: list[Tensor] = []
    betas: list[Tensor] = []
    while True:
        steps = len(alphas)
        right[:, steps] = vector
        left = matrix.times(vector) - beta[:, None] * left
        alphas.append(left.norm(dim=1))
        left = _normalised(left, alphas[-1])
        steps += 1
        vector = _orthogonal(matrix.transposed_times(left), right[:, :steps])
        beta = vector.norm(dim=1)
        # A probe whose space is exhausted goes on with zeros, which change nothing.
        beta = torch.where(beta <= EXHAUSTED * torch.stack(alphas).amax(0), 0, beta)
        betas.append(beta)
        vector = _normalised(vector, beta)
        finished = steps == limit or not beta.any()
        if finished or steps % CHECKED_EVERY == 0:
            values, residuals, inside = _triplets(torch.stack(alphas, 1), torch.stack(betas, 1))
            found = (right[:, steps - min(steps, CHECKED_EVERY) : steps] @ probes[..., None]).abs().max() <= SETTLED
            if finished or (found and bool((residuals.amax(1) <= CONVERGED * values[:, 0]).all())):
                break
    first, last = values[:, 0].argmax(), values[:, 1].argmin()
    largest = float(values[first, 0])
    residual = max(float(residuals[first, 0]), float(residuals[last, 1])) / largest
    basis = inside @ right[:, :steps]
    return Ends(largest, float(values[last, 1]), residual, _orthogonal(probes, basis))


def _normalised(vectors: Tensor, lengths: Tensor) -> Tensor:
    """Each row over its length; zeros where that is zero."""
    return torch.where(lengths[:, None] > 0, vectors / lengths.clamp(min=1e-300)[:, None], 0)


def _orthogonal(vectors: Tensor, basis: Tensor) -> Tensor:
    """Each row (k, n) less its part in its orthonormal basis (k, steps, n), twice, as rounding asks for."""
    for _ in range(2):
        vectors = vectors - (basis.mT @ (basis @ vectors[..., None])).squeeze(-1)
    return vectors


def _triplets(alphas: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Largest and smallest nonzero singular values of the bidiagonal matrices.

    Args:
        alphas: (k, steps), diagonals; zeros at the end stand for a space that was exhausted before.
        betas: (k, steps), what is right of the diagonal, and the size of the next right vector.

    Returns:
        the values (k, 2), their residuals (k, 2), and the right singular vectors of all that are not zero, as rows
        filled up with zeros (k, steps, steps).
    """
    values, residuals = [], []
    inside = alphas.new_zeros(len(alphas), alphas.shape[1], alphas.shape[1])
    for number, (alpha, beta) in enumerate(zip(alphas, betas, strict=True)):
        steps = int(alpha.count_nonzero())
        bidiagonal = torch.diag(alpha[:steps]) + torch.diag(beta[: steps - 1], 1)
        left, singular, rightmost = torch.linalg.svd(bidiagonal)
        kept = singular > NULL * singular[0]
        last = int(kept.sum()) - 1
        error = beta[steps - 1] * left[-1].abs()
        inside[number, : last + 1, :steps] = rightmost[: last + 1]
        values.append(torch.stack([singular[0], singular[last]]))
        residuals.append(torch.stack([error[0], error[last]]))
    return torch.stack(values), torch.stack(residuals), inside
