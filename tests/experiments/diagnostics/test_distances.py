from __future__ import annotations

import pytest
import torch

from experiments.diagnostics import distances
from experiments.diagnostics.distances import RandomPairs
from experiments.diagnostics.weight_map import WeightMap
from tests.experiments.diagnostics.small import METHODS, adapted_to, dense_jacobian, values_of, walked


def pairs_of(weight_map: WeightMap, center: torch.Tensor, radius: float = 0.5) -> RandomPairs:
    return RandomPairs(center, radius, 20, seed=4)


@pytest.mark.parametrize("method", ["gpart", "full", "bitfit"])
def test_an_isometry_has_ratio_one_to_rounding(method: str) -> None:
    adapted = adapted_to(METHODS[method]())
    snapshots = walked(adapted)
    weight_map = WeightMap(adapted)
    center = weight_map.flat(snapshots.taken[0].values)
    random = distances.random_ratios(weight_map, distances.plain(weight_map), pairs_of(weight_map, center))
    trained = distances.trained_ratios(*distances.path_distances(weight_map, snapshots.taken))
    assert (random.n, trained.n) == (20, 6)
    assert random.values == pytest.approx([1] * 20, abs=1e-13)
    assert trained.values == pytest.approx([1] * 6, abs=1e-13)


@pytest.mark.parametrize("method", ["lora", "unilora", "vera"])
def test_ratios_of_close_points_lie_within_the_jacobians_singular_values(method: str) -> None:
    adapted = adapted_to(METHODS[method]())
    walked(adapted)
    weight_map = WeightMap(adapted)
    center = values_of(weight_map, adapted)
    pairs = pairs_of(weight_map, center, radius=1e-6)
    found = distances.random_ratios(weight_map, distances.plain(weight_map), pairs)
    jacobian = dense_jacobian(weight_map, center)
    expected = sorted(float((jacobian @ (a - b)).norm() / (a - b).norm()) for a, b in pairs)
    assert found.values == pytest.approx(expected, rel=1e-4)
    assert found.max > found.min


def test_random_pairs_lie_on_the_sphere_through_the_kept_values_and_come_again() -> None:
    adapted = adapted_to(METHODS["lora"]())
    snapshots = walked(adapted)
    weight_map = WeightMap(adapted)
    start, kept = weight_map.flat(snapshots.taken[0].values), values_of(weight_map, adapted)
    pairs = RandomPairs.around(weight_map, start, kept, 5, seed=1)
    assert pairs.radius == pytest.approx(float((kept - start).norm()))
    first, again = list(pairs), list(pairs)
    for (a, b), (c, d) in zip(first, again, strict=True):
        assert float((a - start).norm()) == pytest.approx(pairs.radius)
        assert not torch.equal(a, b)
        assert torch.equal(a, c)
        assert torch.equal(b, d)
    other = next(iter(RandomPairs.around(weight_map, start, kept, 5, seed=2)))
    assert not torch.equal(other[0], first[0][0])
    assert RandomPairs.around(weight_map, start, start, 5, seed=1).radius == 1


def test_fewer_pairs_of_a_map_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    weight_map = WeightMap(adapted_to(METHODS["lora"]()))
    values = torch.zeros(weight_map.parameters).double()
    monkeypatch.setattr(distances, "MOST_VALUES", 7 * weight_map.size)
    assert RandomPairs.around(weight_map, values, values, 256, 0).count == 7


def test_the_path_of_a_nonlinear_map_is_measured_in_both_spaces() -> None:
    adapted = adapted_to(METHODS["lora"]())
    snapshots = walked(adapted)
    weight_map = WeightMap(adapted)
    between, weights_between = distances.path_distances(weight_map, snapshots.taken)
    points = [weight_map.flat(snapshot.values) for snapshot in snapshots.taken]
    changes = [
        torch.cat([weight_map.change(weight_map.pieces(p), w).flatten() for w in weight_map.weights]) for p in points
    ]
    path = distances.path(snapshots.taken, between, weights_between)
    assert [p.step for p in path] == [0, 1, 2, 3]
    for i, entry in enumerate(path):
        assert entry.distance == pytest.approx(float((points[i] - points[0]).norm()))
        assert entry.weight_distance == pytest.approx(float((changes[i] - changes[0]).norm()))
    assert weights_between[1, 3] == pytest.approx(float((changes[1] - changes[3]).norm()))


def test_snapshots_that_do_not_differ_are_no_pair() -> None:
    adapted = adapted_to(METHODS["lora"]())
    snapshots = walked(adapted, steps=2, size=0)
    trained = distances.trained_ratios(*distances.path_distances(WeightMap(adapted), snapshots.taken))
    assert trained.n == 0
    assert trained.median is None
    assert trained.values == []


def test_the_summary_is_what_its_names_say() -> None:
    found = distances.summary([3.0, 1.0, 2.0, 5.0, 4.0])
    assert found.values == [1, 2, 3, 4, 5]
    assert (found.n, found.mean, found.min, found.median, found.max) == (5, 3, 1, 3, 5)
    assert found.std == pytest.approx(2.5**0.5)
    assert (found.q05, found.q95) == pytest.approx((1.2, 4.8))
    assert distances.summary([2.0]).std is None
