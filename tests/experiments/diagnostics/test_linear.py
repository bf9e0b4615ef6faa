from __future__ import annotations

import pytest
import torch
from peft import UniLoraConfig

from experiments.diagnostics.linear import Columns, is_linear, occupancy
from experiments.diagnostics.weight_map import WeightMap
from gpart import GPartConfig
from schema.diagnostics import Gram
from tests.experiments.diagnostics.small import (
    METHODS,
    TARGETS,
    WEIGHTS,
    adapted_to,
    dense_jacobian,
    gpt2_adapted_to,
    walked,
)

LINEAR = ["gpart", "gpart, not isometric", "fourierft", "full", "bitfit"]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("method", METHODS)
def test_linear_maps_are_told_from_others(method: str) -> None:
    if method == "fourierft":
        pytest.skip("PEFT's FourierFT rounds to float32, above the tolerance")
    adapted = adapted_to(METHODS[method]())
    walked(adapted)
    assert is_linear(WeightMap(adapted), generator()) == (method in LINEAR)


def test_the_gram_matrix_of_an_isometry_is_the_identity() -> None:
    weight_map = WeightMap(adapted_to(METHODS["gpart"]()))
    gram = Columns(weight_map, generator()).gram()
    assert gram.diagonal <= 1e-14
    assert (gram.off_diagonal, gram.columns) == (0, 24)


def test_without_the_scale_the_gram_matrix_holds_the_group_sizes() -> None:
    adapted = adapted_to(METHODS["gpart, not isometric"]())
    sizes = adapted.model.base_model.partition().group_sizes
    gram = Columns(WeightMap(adapted), generator()).gram()
    assert gram == Gram(diagonal=int(sizes.max()) - 1, off_diagonal=0, columns=24)


def test_a_linear_map_with_overlapping_columns_is_sampled() -> None:
    weight_map = WeightMap(adapted_to(METHODS["fourierft"]()))
    gram = Columns(weight_map, generator()).gram()
    matrix = dense_jacobian(weight_map, torch.zeros(weight_map.parameters).double())
    exact = matrix.T @ matrix
    off = exact - torch.diag(exact.diagonal())
    assert gram.columns == weight_map.parameters
    assert gram.diagonal == pytest.approx(float((exact.diagonal() - 1).abs().max()), rel=1e-5)
    assert gram.off_diagonal == pytest.approx(float(off.abs().max()), rel=1e-5)
    assert gram.off_diagonal > 0.1


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(torch.float32, 0, 2**-22), (torch.float16, 2**-13, 2**-9), (torch.bfloat16, 2**-10, 2**-6)],
)
def test_scales_in_a_short_type_are_off_by_its_rounding(dtype: torch.dtype, low: float, high: float) -> None:
    adapted = adapted_to(METHODS["gpart"]())
    found = Columns(WeightMap(adapted), generator()).gram(dtype).diagonal
    sizes = adapted.model.base_model.partition().group_sizes.double()
    by_hand = (sizes * sizes.rsqrt().to(dtype).double().square() - 1).abs().max()
    assert found == pytest.approx(float(by_hand), rel=1e-9)
    assert low <= found <= high


@pytest.mark.filterwarnings("ignore:.*coordinates reach none")
@pytest.mark.parametrize("scheme", ["hash", "iid", "balanced"])
@pytest.mark.parametrize("build", [adapted_to, gpt2_adapted_to], ids=["bert", "gpt2"])
def test_occupancy_read_off_the_map_is_the_partitions(scheme: str, build: object) -> None:
    targets = TARGETS if build is adapted_to else ["c_attn"]
    adapted = build(GPartConfig(d=150, scheme=scheme, target_modules=targets))  # type: ignore[operator]
    sizes = adapted.model.base_model.partition().group_sizes
    columns = Columns(WeightMap(adapted), generator())
    found = columns.group_sizes()
    assert found is not None
    assert torch.equal(found, sizes)
    record = occupancy(adapted, columns)
    assert record is not None
    assert record.dead == int((sizes == 0).sum()) == adapted.dead_coordinates
    assert (record.dead > 0) == (scheme != "balanced")
    assert (record.groups, record.weights) == (150, int(sizes.sum()))
    assert (record.min, record.max) == (int(sizes.min()), int(sizes.max()))
    assert sum(record.counts) == 150
    assert sum(s * c for s, c in zip(record.sizes, record.counts, strict=True)) == record.weights


def test_occupancy_of_unilora_counts_uses_in_a_and_b() -> None:
    adapted = adapted_to(UniLoraConfig(r=2, theta_d_length=300, target_modules=TARGETS))
    record = occupancy(adapted, None)
    assert record is not None
    entries = 2 * 2 * (8 + 8 + 8 + 12)
    assert (record.groups, record.weights, record.dead) == (300, entries, 300 - entries)
    assert entries < WEIGHTS


@pytest.mark.parametrize("method", ["lora", "vera"])
def test_other_methods_have_no_occupancy(method: str) -> None:
    assert occupancy(adapted_to(METHODS[method]()), None) is None


def test_overlapping_columns_are_no_partition() -> None:
    adapted = adapted_to(METHODS["fourierft"]())
    assert occupancy(adapted, Columns(WeightMap(adapted), generator())) is None
