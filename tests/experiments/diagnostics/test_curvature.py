"""Curvature against matrices of known spectrum, finite differences and the Hessian that autograd makes whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from baselines import Adapted, adapt
from experiments.diagnostics import curvature
from experiments.diagnostics.curvature import (
    DENSE_LIMIT,
    MOST_VALUES,
    TOLERANCE,
    Hessian,
    measure_curvature,
    trace_estimate,
)
from tests.baselines.tiny_backbones import BACKBONES, METHODS


def symmetric(eigenvalues: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(3)
    basis, _ = np.linalg.qr(generator.standard_normal((len(eigenvalues), len(eigenvalues))))
    return (basis * eigenvalues) @ basis.T


def quadratic(matrix: np.ndarray) -> Hessian:
    """The Hessian of x^T A x / 2, x two parameters and the loss two terms, in float64."""
    whole, split = torch.from_numpy(matrix), len(matrix) // 3
    parameters = [nn.Parameter(torch.randn(n, dtype=torch.float64)) for n in (split, len(matrix) - split)]

    def part(share: float) -> Tensor:
        x = torch.cat(parameters)
        return share * x @ whole @ x / 2

    return Hessian([partial(part, 0.25), partial(part, 0.75)], parameters)


def test_a_quadratic_loss_with_few_values_gives_its_whole_spectrum() -> None:
    spectrum = np.array([-2.0, -0.5, 0.25, 1.0, 3.0, 3.0, 5.0, 10.0])
    hessian = quadratic(symmetric(spectrum))
    measured = measure_curvature(hessian, hessian.size, eigenvalues=3, seed=0)
    assert measured.method == "dense"
    assert measured.largest == pytest.approx([10, 5, 3])
    assert measured.smallest == pytest.approx([-2, -0.5, 0.25])
    assert measured.mean == pytest.approx(spectrum.mean())
    assert measured.mean_error == 0
    assert measured.anisotropy == pytest.approx(10 / spectrum.mean())
    assert measured.condition == pytest.approx(10 / 0.25)
    assert measured.negative == 2 / 8
    assert measured.products == 8


def test_a_matrix_without_curvature_somewhere_or_with_a_negative_mean_leaves_ratios_open() -> None:
    flat = measure_curvature(lambda vectors: vectors * [0.0, 1.0], 2, eigenvalues=5, seed=0)
    assert flat.condition is None
    assert flat.negative == 0
    assert flat.largest == [1, 0], "no more eigenvalues than there are"
    concave = measure_curvature(lambda vectors: -vectors, 2, eigenvalues=1, seed=0)
    assert concave.anisotropy is None
    assert concave.negative == 1


@pytest.mark.parametrize("outermost", [40.0, -40.0])
def test_a_quadratic_loss_with_many_values_gives_both_ends_and_the_mean(outermost: float) -> None:
    size = DENSE_LIMIT + 60
    spectrum = np.sort(np.r_[outermost, 20, 10, -1, -2, np.linspace(0, 2, size - 5)])
    hessian = quadratic(symmetric(spectrum))
    measured = measure_curvature(hessian, size, eigenvalues=3, seed=0)
    assert measured.method == "matrix-free"
    # What a residual of this size allows (Weyl).
    allowed = {"abs": measured.residual * 40 + 1e-9}
    assert measured.residual < 10 * TOLERANCE
    assert measured.largest == pytest.approx(spectrum[::-1][:3], **allowed)
    assert measured.smallest == pytest.approx(spectrum[:3], **allowed)
    assert abs(measured.mean - spectrum.mean()) < 4 * measured.mean_error
    assert measured.mean_error < 0.05 * spectrum.mean()
    assert measured.anisotropy == pytest.approx(40 / measured.mean, rel=1e-2)
    assert measured.condition is None
    assert measured.negative is None
    assert measured.products < size / 2
    again = measure_curvature(hessian, size, eigenvalues=3, seed=0)
    assert again == measured
    assert measure_curvature(hessian, size, eigenvalues=3, seed=1).mean != measured.mean


def test_no_curvature_at_all_is_zero() -> None:
    measured = measure_curvature(lambda vectors: 0 * vectors, DENSE_LIMIT + 1, eigenvalues=2, seed=0)
    assert measured.largest == measured.smallest == [0, 0]
    assert measured.mean == measured.residual == 0
    assert measured.anisotropy is None


def test_beyond_the_memory_of_its_vectors_nothing_is_computed() -> None:
    measured = measure_curvature(lambda _: pytest.fail("no product"), MOST_VALUES + 1, eigenvalues=2, seed=0)
    assert (measured.method, measured.largest, measured.mean) == ("none", [], None)


def test_the_trace_is_unbiased_with_and_without_known_vectors_and_its_error_is_honest() -> None:
    spectrum = np.r_[np.linspace(-1, 1, 38), 5.0, 30.0]
    matrix = symmetric(spectrum)
    _, basis = np.linalg.eigh(matrix)
    for known in (np.empty((0, 40)), basis.T[-2:]):
        values = np.einsum("mi,ij,mj->m", known, matrix, known)
        deviations, errors = [], []
        for seed in range(200):
            estimate, error = trace_estimate(lambda v: v @ matrix, values, known, np.random.default_rng(seed))
            deviations.append(estimate - spectrum.sum())
            errors.append(error)
        assert abs(np.mean(deviations)) < 4 * np.std(deviations) / np.sqrt(200)
        assert np.mean(errors) == pytest.approx(np.std(deviations), rel=0.2)


def test_a_loss_that_is_linear_or_does_not_see_a_parameter_has_zeros_there() -> None:
    seen, unseen = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))
    assert not Hessian([lambda: seen.sum()], [seen, unseen])(np.eye(3)).any()
    assert Hessian([lambda: (seen**3).sum()], [seen, unseen])(np.eye(3)).tolist() == [[6, 0, 0], [0, 6, 0], [0, 0, 0]]


LABELS = torch.tensor([0, 1, 2, 0])


def moved_model(backbone: str, method: str, dtype: torch.dtype) -> tuple[Adapted, dict[str, Tensor]]:
    """A tiny adapted model away from its start, and inputs."""
    kind = BACKBONES[backbone]
    adapted = adapt(kind.new(), METHODS[method](kind.targets), head=kind.head, init_seed=0)
    parameters = [parameter for _, parameter in adapted.adapter_parameters()]
    generator = torch.Generator().manual_seed(1)
    move(parameters, 0.3 * torch.randn(sum(p.numel() for p in parameters), generator=generator))
    adapted.model.eval().to(dtype)
    return adapted, {name: x.to(dtype) if x.is_floating_point() else x for name, x in kind.inputs().items()}


def cross_entropy(adapted: Adapted, inputs: dict[str, Tensor]) -> Callable[[], Tensor]:
    return lambda: nn.functional.cross_entropy(adapted.model(**inputs).logits, LABELS)


def move(parameters: Sequence[nn.Parameter], vector: Tensor) -> None:
    with torch.no_grad():
        for parameter, part in zip(parameters, vector.split([p.numel() for p in parameters]), strict=True):
            parameter += part.view_as(parameter)


@pytest.mark.parametrize("backbone", ["bert", "vit"])
@pytest.mark.parametrize("method", ["gpart", "lora", "unilora", "bitfit"])
def test_products_are_finite_differences_of_the_gradient(method: str, backbone: str) -> None:
    adapted, inputs = moved_model(backbone, method, torch.float64)
    loss, parameters = cross_entropy(adapted, inputs), [parameter for _, parameter in adapted.adapter_parameters()]
    hessian = Hessian([loss], parameters)
    vector = torch.randn(hessian.size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    step, ends = 1e-5, []
    for direction in (-1, 2):
        move(parameters, direction * step * vector)
        gradients = torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True)
        ends.append(torch.cat([g.reshape(-1) for g in gradients]))
    move(parameters, -step * vector)
    difference = ((ends[1] - ends[0]) / (2 * step)).numpy()
    (product,) = hessian(vector.numpy()[None])
    assert np.linalg.norm(difference) > 1e-5
    assert np.linalg.norm(product - difference) < 1e-6 * np.linalg.norm(difference)


@pytest.mark.parametrize("method", ["gpart", "lora"])
@pytest.mark.parametrize("limit", [0, DENSE_LIMIT])
def test_eigenvalues_are_those_of_the_hessian_by_forward_over_reverse_mode(
    limit: int, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted, inputs = moved_model("bert", method, torch.float64)
    names, parameters = zip(*adapted.adapter_parameters(), strict=True)
    sizes = [parameter.numel() for parameter in parameters]

    def at(vector: Tensor) -> Tensor:
        values = {n: v.view_as(p) for n, v, p in zip(names, vector.split(sizes), parameters, strict=True)}
        logits = torch.func.functional_call(adapted.model, values, kwargs=inputs).logits
        return nn.functional.cross_entropy(logits, LABELS)

    with sdpa_kernel(SDPBackend.MATH):
        whole = torch.func.hessian(at)(nn.utils.parameters_to_vector(parameters).detach()).detach().numpy()
    reference = np.linalg.eigvalsh(whole)
    monkeypatch.setattr(curvature, "DENSE_LIMIT", limit)
    hessian = Hessian([cross_entropy(adapted, inputs)], parameters)
    measured = measure_curvature(hessian, hessian.size, eigenvalues=3, seed=0)
    assert measured.method == ("dense" if limit else "matrix-free")
    # By Weyl an eigenvalue is no farther off than its residual.
    allowed = {"abs": (measured.residual + 1e-9) * np.abs(reference).max()}
    assert measured.largest == pytest.approx(reference[::-1][:3], **allowed)
    assert measured.smallest == pytest.approx(reference[:3], **allowed)
    assert abs(measured.mean - reference.mean()) <= 4 * measured.mean_error + 1e-9


@pytest.mark.parametrize("backbone", ["bert", "vit"])
def test_float32_is_enough(backbone: str) -> None:
    matrices, losses = [], []
    for dtype in (torch.float32, torch.float64):
        adapted, inputs = moved_model(backbone, "gpart", dtype)
        loss, parameters = cross_entropy(adapted, inputs), [parameter for _, parameter in adapted.adapter_parameters()]
        hessian = Hessian([loss], parameters)
        matrices.append(hessian(np.eye(hessian.size)))
        with sdpa_kernel(SDPBackend.MATH):
            losses.append(float(loss()))
        losses.append(float(loss()))
    assert np.linalg.norm(matrices[0] - matrices[1], 2) < 1e-6 * np.linalg.norm(matrices[1], 2)
    assert losses == pytest.approx([losses[-1]] * 4, rel=1e-6), "plain attention is the same function"
