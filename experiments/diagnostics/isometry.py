"""How a method's map from trained values to weight changes treats distances."""

from __future__ import annotations

import time
from typing import Final

import torch
from torch import Tensor

from baselines import Adapted
from experiments.diagnostics import distances
from experiments.diagnostics.jacobian import Point, measure_jacobian
from experiments.diagnostics.linear import Columns, is_linear, occupancy
from experiments.diagnostics.precision import dropout, precision
from experiments.diagnostics.snapshots import Snapshots
from experiments.diagnostics.update import trained_values, weight_update
from experiments.diagnostics.weight_map import WeightMap
from schema.diagnostics import Isometry, JacobianPoint, Pairs
from schema.sections import Diagnostics as Options

VERSION: Final = 1
"""Of the definitions in docs/RECORD.md."""


def measure_isometry(adapted: Adapted, snapshots: Snapshots, options: Options) -> Isometry:
    """The `diagnostics.isometry` of a record (docs/RECORD.md).

    The model is left as it is, and so is every global generator: all that is drawn comes from `options.seed`.

    Args:
        adapted: the trained model.
        snapshots: its trained values along training, the start first.
        options: `seed`, `pairs`, `dense_limit` and `spectrum` of conf/diagnostics.

    Raises:
        NotAWeightMapError: if the method is no map from trained values to weight changes.
    """
    started, generator = time.perf_counter(), torch.Generator().manual_seed(options.seed)
    weight_map = WeightMap(adapted)
    probe = torch.randn(weight_map.parameters, dtype=torch.float64, generator=generator)
    weight_map.check(probe.to(weight_map.device), generator)
    start = weight_map.flat(snapshots.taken[0].values)
    kept = weight_map.flat(dict(adapted.adapter_parameters()))
    linear = weight_map.is_identity or is_linear(weight_map, generator)
    columns = Columns(weight_map, generator) if linear else None
    pairs = distances.RandomPairs.around(weight_map, start, kept, options.pairs, options.seed)
    between, weights_between = distances.path_distances(weight_map, snapshots.taken)
    # Fields are measured in the order in which they draw from the generator.
    return Isometry(
        status="measured",
        version=VERSION,
        map="identity" if weight_map.is_identity else "linear" if linear else "nonlinear",
        parameters=weight_map.parameters,
        weights=weight_map.size,
        path=distances.path(snapshots.taken, between, weights_between),
        ratios=Pairs(
            random=distances.random_ratios(weight_map, distances.plain(weight_map), pairs),
            trained=distances.trained_ratios(between, weights_between),
        ),
        jacobian=_jacobian(weight_map, snapshots, kept, options.dense_limit, generator),
        gram=columns.gram() if columns else None,
        occupancy=None if weight_map.is_identity else occupancy(adapted, columns),
        update=weight_update(weight_map, start, kept, options.spectrum),
        trained_values=trained_values(kept),
        precision=precision(adapted, pairs, columns),
        dropout=dropout(weight_map, pairs),
        seconds=time.perf_counter() - started,
    )


def _jacobian(
    weight_map: WeightMap, snapshots: Snapshots, kept: Tensor, dense_limit: int, generator: torch.Generator
) -> list[JacobianPoint]:
    """At the start, in the middle of training, and at the kept values, whose step is known if they are a snapshot's."""
    taken = [(snapshot.step, weight_map.flat(snapshot.values)) for snapshot in snapshots.taken]
    kept_step = next((step for step, values in taken if torch.equal(values, kept)), None)
    points: list[tuple[Point, int | None, Tensor]] = [
        ("start", *taken[0]),
        ("training", *taken[len(taken) // 2]),
        ("kept", kept_step, kept),
    ]
    return [
        measure_jacobian(weight_map, values, dense_limit, generator, point=point, step=step)
        for point, step, values in points
    ]
