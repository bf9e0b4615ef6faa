"""Singular values, null directions and conditions, against the explicit Jacobian and against LoRA's closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import Tensor

from experiments.diagnostics import krylov
from experiments.diagnostics.jacobian import measure_jacobian
from experiments.diagnostics.weight_map import WeightMap
from gpart import GPartConfig
from schema.diagnostics import JacobianPoint
from tests.experiments.diagnostics.small import METHODS, TARGETS, adapted_to, dense_jacobian, values_of, walked

LARGE = 4096
KEPT: dict[str, Any] = {"point": "kept", "step": None}


def measured(config: Any, steps: int, dense_limit: int) -> tuple[JacobianPoint, Tensor]:
    """The point of the record after some steps, and the explicit Jacobian's singular values, descending."""
    adapted = adapted_to(config)
    walked(adapted, steps)
    weight_map = WeightMap(adapted)
    values = values_of(weight_map, adapted)
    point = measure_jacobian(weight_map, values, dense_limit, torch.Generator().manual_seed(0), **KEPT)
    singular = torch.linalg.svdvals(dense_jacobian(weight_map, values))
    # A tall or wide matrix alike: one singular value per trained direction.
    missing = weight_map.parameters - len(singular)
    return point, torch.cat([singular, torch.zeros(max(0, missing), dtype=torch.float64)])


@pytest.mark.parametrize("dense_limit", [LARGE, 1], ids=["dense", "matrix-free"])
@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("method", METHODS)
def test_extremes_and_null_directions_are_the_explicit_jacobians(method: str, steps: int, dense_limit: int) -> None:
    point, singular = measured(METHODS[method](), steps, dense_limit)
    kept = singular[singular > 1e-9 * singular[0]]
    assert point.null_directions == len(singular) - len(kept)
    assert point.null_interval is None
    rounding = 1e-6 if method == "fourierft" else 1e-9  # PEFT's FourierFT computes in float32
    assert point.largest == pytest.approx(float(kept[0]), rel=rounding)
    assert point.smallest_nonzero == pytest.approx(float(kept[-1]), rel=100 * rounding)
    assert point.condition_complement == pytest.approx(float(kept[0] / kept[-1]), rel=100 * rounding)
    if point.null_directions:
        assert (point.smallest, point.condition) == (0, None)
    else:
        assert point.smallest == point.smallest_nonzero
        assert point.condition == point.condition_complement
    overlapping = method in ("lora", "unilora", "fourierft") or (method == "vera" and steps)
    assert point.method == ("matrix-free" if overlapping and dense_limit == 1 else "dense")
    assert point.residual <= 1e-8


@pytest.mark.parametrize("method", ["gpart", "full", "bitfit"])
def test_an_isometry_has_condition_one(method: str) -> None:
    point, _ = measured(METHODS[method](), 2, 1)
    assert point.largest == pytest.approx(1, abs=1e-14)
    assert point.condition == pytest.approx(1, abs=1e-14)
    assert point.null_directions == 0


def test_without_the_scale_singular_values_are_square_roots_of_group_sizes() -> None:
    adapted = adapted_to(METHODS["gpart, not isometric"]())
    sizes = adapted.model.base_model.partition().group_sizes.double()
    weight_map = WeightMap(adapted)
    point = measure_jacobian(weight_map, values_of(weight_map, adapted), 1, torch.Generator(), **KEPT)
    assert sizes.min() < sizes.max()
    assert point.largest == pytest.approx(float(sizes.max().sqrt()), rel=1e-14)
    assert point.smallest == pytest.approx(float(sizes.min().sqrt()), rel=1e-14)


@pytest.mark.filterwarnings("ignore:.*coordinates reach none")
def test_dead_coordinates_are_null_directions_of_an_isometry_on_the_rest() -> None:
    adapted = adapted_to(GPartConfig(d=160, scheme="iid", target_modules=TARGETS))  # two weights per group
    weight_map = WeightMap(adapted)
    point = measure_jacobian(weight_map, values_of(weight_map, adapted), LARGE, torch.Generator(), **KEPT)
    assert point.null_directions == adapted.dead_coordinates > 0
    assert (point.smallest, point.condition) == (0, None)
    assert point.condition_complement == pytest.approx(1, abs=1e-14)


def closed_form(scale: float, a: Tensor, b: Tensor) -> Tensor:
    """All nonzero singular values of (dA, dB) -> scale (dB A + B dA), ascending.

    J J^T M = scale^2 (M A^T A + B B^T M), whose eigenvectors are products of left singular vectors of B and right
    singular vectors of A, with eigenvalues scale^2 (a_i^2 + b_j^2); a_i = 0 beyond the rank, up to the width of A, and
    b_j = 0 up to the height of B.
    """
    width, height = a.shape[1], b.shape[0]
    squares_a, squares_b = torch.zeros(width).double(), torch.zeros(height).double()
    squares_a[: a.shape[0]] = torch.linalg.svdvals(a.double()).square()
    squares_b[: b.shape[1]] = torch.linalg.svdvals(b.double()).square()
    values = (squares_a[:, None] + squares_b[None, :]).flatten().sort().values
    result: Tensor = scale * values[values > 1e-12].sqrt()
    return result


@pytest.mark.parametrize("dense_limit", [LARGE, 1], ids=["dense", "matrix-free"])
@pytest.mark.parametrize("steps", [0, 3])
def test_lora_has_its_closed_form(steps: int, dense_limit: int) -> None:
    rank, alpha = 2, 6
    adapted = adapted_to(LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS))
    walked(adapted, steps)
    weight_map = WeightMap(adapted)
    tensors = dict(adapted.adapter_parameters())
    pairs = [(p, tensors[name.replace("lora_A", "lora_B")]) for name, p in tensors.items() if "lora_A" in name]
    expected = torch.cat([closed_form(alpha / rank, a.detach(), b.detach()) for a, b in pairs]).sort().values
    values = values_of(weight_map, adapted)
    singular = torch.linalg.svdvals(dense_jacobian(weight_map, values)).sort().values[-len(expected) :]
    torch.testing.assert_close(singular, expected, rtol=1e-9, atol=0)
    point = measure_jacobian(weight_map, values, dense_limit, torch.Generator().manual_seed(0), **KEPT)
    assert point.largest == pytest.approx(float(expected[-1]), rel=1e-9)
    assert point.smallest_nonzero == pytest.approx(float(expected[0]), rel=1e-7)
    # At B = 0 nothing depends on A; at full rank the change of basis of the rank's directions is lost.
    null = 4 * rank * 8 if steps == 0 else 4 * rank**2
    assert point.null_directions == weight_map.parameters - len(expected) == null


class Explicit:
    """A matrix by itself."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.columns = matrix, matrix.shape[1]

    def times(self, vectors: Tensor) -> Tensor:
        return vectors @ self.matrix.T

    def transposed_times(self, vectors: Tensor) -> Tensor:
        return vectors @ self.matrix


def spectrum(singular: Tensor, rows: int, columns: int) -> Explicit:
    """A random matrix with these singular values, and zeros."""
    generator = torch.Generator().manual_seed(2)
    left = torch.linalg.qr(torch.randn(rows, len(singular), generator=generator, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(columns, len(singular), generator=generator, dtype=torch.float64))[0]
    return Explicit(left @ torch.diag(singular) @ right.T)


@pytest.mark.parametrize("condition", [10.0, 1e3])
def test_bidiagonalisation_finds_both_ends_and_the_null_space(condition: float) -> None:
    singular = torch.logspace(0, -float(torch.tensor(condition).log10()), 150, dtype=torch.float64)
    matrix = spectrum(singular, 300, 200)
    probes = torch.randn(4, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = krylov.ends(matrix, probes)
    assert found.largest == pytest.approx(1, rel=1e-9)
    assert found.smallest == pytest.approx(1 / condition, rel=1e-6)
    assert found.residual <= krylov.CONVERGED
    null = torch.linalg.svd(matrix.matrix)[2][150:]
    torch.testing.assert_close(found.null_parts, probes @ null.T @ null, rtol=0, atol=1e-5)


def test_many_null_directions_are_estimated_with_an_interval() -> None:
    # 40 inputs of rank 4: 4 * 4 directions per matrix are null, as many as there are probes.
    rank = 4
    adapted = adapted_to(LoraConfig(r=rank, lora_alpha=4, target_modules=TARGETS))
    walked(adapted, 3)
    weight_map = WeightMap(adapted)
    values = values_of(weight_map, adapted)
    point = measure_jacobian(weight_map, values, 1, torch.Generator().manual_seed(0), **KEPT)
    low, high = point.null_interval
    assert low <= 4 * rank**2 <= high
    assert high - low < 4 * rank**2
    assert low <= point.null_directions <= high
