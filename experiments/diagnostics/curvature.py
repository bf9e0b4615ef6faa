"""Curvature of a loss: products with its Hessian, extreme eigenvalues, trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from schema.diagnostics import Hessian as Curvature

DENSE_LIMIT = 300
"""Up to so many values the Hessian is made whole."""
TOLERANCE = 1e-3
"""Of eigenpairs, relative to the order of the largest eigenvalue."""
ROUNDING = 1e-6
"""Up to so much of the largest an eigenvalue may be zero: float32 products differ from float64 ones by 2e-7 of it."""
MOST_VALUES = 2**24
"""Beyond it the vectors that eigenvalues are found from (about 25 in float64) would take more than 3 GiB."""
PROBES = 16
"""Random vectors of the trace's estimate."""
POWER_STEPS = 3

Matrix = npt.NDArray[np.float64]
Products = Callable[[Matrix], Matrix]
"""From k vectors to the Hessian times each, both (k, n)."""


class Hessian:
    """The Hessian of a sum of scalars in `parameters`, as a linear map; no graph outlives a call.

    Args:
        terms: each computes a part of the loss.
        parameters: leaves with n entries altogether, n being the size of the Hessian.
    """

    def __init__(self, terms: Sequence[Callable[[], Tensor]], parameters: Sequence[nn.Parameter]) -> None:
        self._terms = terms
        self._parameters = list(parameters)
        self._sizes = [parameter.numel() for parameter in parameters]
        self.size = sum(self._sizes)

    def __call__(self, vectors: Matrix) -> Matrix:
        """The products with `vectors`, both (k, n) in float64; the sum over the terms is made in float64.

        Attention runs as plain matrix products (same values up to rounding): fused kernels have no second derivative.
        """
        first = self._parameters[0]
        total = torch.zeros(vectors.shape, dtype=torch.float64)
        given = torch.from_numpy(vectors).to(first.device, first.dtype)
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            for term in self._terms:
                gradients = torch.autograd.grad(term(), self._parameters, create_graph=True, allow_unused=True)
                for row, vector in zip(total, given, strict=True):
                    row += self._product(gradients, vector).to("cpu", torch.float64)
        return total.numpy()

    def _product(self, gradients: Sequence[Tensor | None], vector: Tensor) -> Tensor:
        """The derivative of gradients times vector (n,), by a second backward; zero where nothing depends."""
        parts = [
            part.view_as(parameter) for part, parameter in zip(vector.split(self._sizes), self._parameters, strict=True)
        ]
        pairs = [(g, part) for g, part in zip(gradients, parts, strict=True) if g is not None and g.requires_grad]
        if not pairs:
            return torch.zeros_like(vector)
        outputs, weights = zip(*pairs, strict=True)
        second = torch.autograd.grad(
            outputs, self._parameters, weights, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return torch.cat([derivative.reshape(-1) for derivative in second])


def measure_curvature(hessian: Products, size: int, *, eigenvalues: int, seed: int) -> Curvature:
    """The `hessian` of a record (docs/RECORD.md).

    Args:
        hessian: products with a symmetric matrix.
        size: its number of rows.
        eigenvalues: how many at each end; all there are where that is more.
        seed: of starting vector and probes.
    """
    if size > MOST_VALUES:
        unknown = dict.fromkeys(("mean", "mean_error", "anisotropy", "condition", "negative", "residual"))
        return Curvature(largest=[], smallest=[], products=0, method="none", **unknown)
    if size <= max(DENSE_LIMIT, 2 * eigenvalues):
        return _dense(hessian(np.eye(size)), eigenvalues)
    return _matrix_free(hessian, size, eigenvalues, np.random.default_rng(seed))


def _dense(matrix: Matrix, count: int) -> Curvature:
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    magnitudes, mean = np.abs(values), float(values.mean())
    return Curvature(
        largest=values[::-1][:count].tolist(),
        smallest=values[:count].tolist(),
        mean=mean,
        mean_error=0.0,
        anisotropy=_anisotropy(magnitudes.max(), mean),
        condition=float(magnitudes.max() / magnitudes.min()) if magnitudes.min() > 0 else None,
        negative=float((values < -ROUNDING * magnitudes.max()).mean()),
        residual=0.0,
        products=len(matrix),
        method="dense",
    )


def _matrix_free(hessian: Products, size: int, count: int, generator: np.random.Generator) -> Curvature:
    products = 0

    def counted(vectors: Matrix) -> Matrix:
        nonlocal products
        products += len(vectors)
        return hessian(vectors)

    values, vectors, residual = extreme_eigenpairs(counted, size, count, generator)
    trace, error = trace_estimate(counted, values, vectors, generator)
    return Curvature(
        largest=values[::-1][:count].tolist(),
        smallest=values[:count].tolist(),
        mean=trace / size,
        mean_error=error / size,
        anisotropy=_anisotropy(np.abs(values).max(), trace / size),
        condition=None,
        negative=None,
        residual=residual,
        products=products,
        method="matrix-free",
    )


def _anisotropy(outermost: float, mean: float) -> float | None:
    """The largest absolute eigenvalue over the mean of all."""
    return float(outermost / mean) if mean > 0 else None


def extreme_eigenpairs(
    hessian: Products, size: int, count: int, generator: np.random.Generator
) -> tuple[Matrix, Matrix, float]:
    """`count` eigenpairs at each end of the spectrum, by implicitly restarted Lanczos (ARPACK).

    ARPACK asks of every eigenvalue an accuracy relative to itself, which rounding forbids for those near zero; of a
    matrix shifted by the order of its norm, it is relative to that. One Krylov space serves both ends.

    Returns:
        Eigenvalues (2 count,), ascending, as Rayleigh quotients; unit eigenvectors (2 count, n); the largest residual
        ||H v - lambda v|| over the largest absolute eigenvalue.

    Raises:
        scipy.sparse.linalg.ArpackNoConvergence: if `TOLERANCE` is not met.
    """
    start = generator.standard_normal(size)
    shift = _norm(hessian, start)
    if not shift:  # no curvature anywhere, where ARPACK breaks down
        return np.zeros(2 * count), np.eye(2 * count, size), 0.0
    operator = LinearOperator((size, size), lambda v: hessian(v.reshape(1, -1))[0] + shift * v.reshape(-1))
    _, found = eigsh(operator, 2 * count, which="BE", v0=start, tol=TOLERANCE, rng=generator)
    vectors = np.ascontiguousarray(found.T)
    images = hessian(vectors)
    values = (vectors * images).sum(1)
    residuals = np.linalg.norm(images - values[:, None] * vectors, axis=1)
    return values, vectors, float(residuals.max() / np.abs(values).max())


def _norm(hessian: Products, start: Matrix) -> float:
    """The order of the matrix's spectral norm, from below, by power iteration."""
    vector, norm = start, float(np.linalg.norm(start))
    for _ in range(POWER_STEPS):
        if norm:
            vector = hessian((vector / norm).reshape(1, -1))[0]
            norm = float(np.linalg.norm(vector))
    return norm


def trace_estimate(
    hessian: Products, values: Matrix, vectors: Matrix, generator: np.random.Generator
) -> tuple[float, float]:
    """The trace and its standard error: exact on the span of known eigenvectors, Hutchinson's estimate beside it.

    tr H = sum of q^T H q over orthonormal q + E[w^T H w], w a Rademacher vector's part outside their span (Hutch++:
    Meyer et al., arXiv 2010.09649). Without the first part the largest eigenvalues would be most of the error.

    Args:
        hessian: products with a symmetric matrix.
        values: q^T H q for each of the vectors, (m,).
        vectors: orthonormal, (m, n).
        generator: of the probes.
    """
    probes = generator.choice([-1.0, 1.0], size=(PROBES, vectors.shape[1]))
    outside = probes - (probes @ vectors.T) @ vectors
    samples = (outside * hessian(outside)).sum(1)
    return float(values.sum() + samples.mean()), float(samples.std(ddof=1) / np.sqrt(PROBES))
