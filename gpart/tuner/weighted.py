"""Weighted sums of adapters, exact where they have one partition: P is linear, so P (sum w theta) = sum w P theta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

import torch
from torch import Tensor, nn

from gpart.partition.partition import Partition
from gpart.tuner.compat import AuxiliaryTrainingWrapper


def check_weighted(
    model: nn.Module,
    partitions: Mapping[str, Partition],
    adapters: Sequence[str],
    weights: Sequence[float],
    combination_type: str,
) -> None:
    """Refuse what would not be an exact sum.

    Args:
        model: that has the adapters.
        partitions: of all adapters, by their names.
        adapters: names of those to add.
        weights: of each.
        combination_type: how to combine them.

    Raises:
        ValueError: naming the argument, its value and what would be accepted.
    """
    if combination_type != "linear":
        raise ValueError(f"combination_type: {combination_type!r}; accepted is 'linear', which is exact")
    if isinstance(adapters, str) or not adapters or any(name not in partitions for name in adapters):
        known = ", ".join(map(repr, partitions))
        raise ValueError(f"adapters: {adapters!r}; accepted is a list of one or more of {known}")
    if len(weights) != len(adapters) or not all(isfinite(weight) for weight in weights):
        raise ValueError(f"weights: {weights!r}; accepted is a finite number for each of {len(adapters)} adapters")
    for name in adapters:
        if difference := _difference(partitions[name], partitions[adapters[0]]):
            raise ValueError(
                f"adapters: {name!r} has another partition than {adapters[0]!r} ({difference}); accepted are adapters "
                "of one partition, whose vectors add up"
            )
    for module_name, module in model.named_modules():
        if not isinstance(module, AuxiliaryTrainingWrapper):
            continue
        for name in filter(module.adapter_state_dict_load_map, adapters):
            raise ValueError(
                f"adapters: {name!r} trains {module_name.removeprefix('model.')} beside its vector, and such modules "
                "do not add up; accepted are adapters without (modules_to_save=None)"
            )


def _difference(partition: Partition, other: Partition) -> str:
    if partition.stamp == other.stamp:
        return ""
    own, others = partition.definition, other.definition
    named = [f"{key} {own.get(key)!r}, not {value!r}" for key, value in others.items() if own.get(key) != value]
    return "; ".join(named) or "other layers"


def weighted_sum(thetas: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The sum of vectors, (d,) each, times their weights: (d,), rounded once to the type of the first of them."""
    parts = [
        weight * theta.detach().to(thetas[0].device, torch.float64)
        for theta, weight in zip(thetas, weights, strict=True)
    ]
    return torch.stack(parts).sum(0).to(thetas[0].dtype)
