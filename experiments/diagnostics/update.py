"""What training did to the weights and to the trained values."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from experiments.diagnostics.weight_map import WeightMap
from schema.diagnostics import LayerUpdate, TrainedValues, Update

BINS = 60
WHOLE = 1024
"""Smaller side of a matrix up to which its singular values come from itself; beyond, from its Gram matrix, which is
quicker and keeps the largest to full precision."""


@torch.no_grad()
def weight_update(weight_map: WeightMap, start: Tensor, kept: Tensor, count: int) -> Update:
    """`update` of the record: spectra of the kept weight change, in float64.

    Args:
        weight_map: the map.
        start: (n,), from which trained weights of the backbone have changed.
        kept: (n,).
        count: of singular values to keep per matrix.
    """
    before, after = weight_map.pieces(start), weight_map.pieces(kept)
    layers, total = [], 0.0
    for weight in weight_map.weights:
        change = weight_map.change(after, weight)
        if weight.layer is None:
            change = change - before[weight.reads[0]]
        total += float(change.square().sum())
        if change.ndim == 2:
            layers.append(_layer_update(weight.name, change, count))
    return Update(norm=total**0.5, layers=layers)


def _layer_update(name: str, change: Tensor, count: int) -> LayerUpdate:
    if min(change.shape) <= WHOLE:
        values = torch.linalg.svdvals(change)
    else:
        gram = change @ change.T if change.shape[0] < change.shape[1] else change.T @ change
        values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().flip(0)
    spectral, frobenius = float(values[0]), float(change.norm())
    return LayerUpdate(
        name=name,
        shape=list(change.shape),
        frobenius=frobenius,
        spectral=spectral,
        stable_rank=(frobenius / spectral) ** 2 if spectral else None,
        singular_values=values[:count].tolist(),
    )


def trained_values(kept: Tensor) -> TrainedValues:
    """`trained_values` of the record: moments and a histogram of the kept values (n,)."""
    values = kept.cpu().numpy()
    mean, std = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None
    counts, edges = np.histogram(values, BINS)
    return TrainedValues(
        n=len(values),
        mean=mean,
        std=std,
        min=float(values.min()),
        max=float(values.max()),
        outliers=int((np.abs(values - mean) > 3 * (std or 0)).sum()),
        edges=edges.tolist(),
        counts=counts.tolist(),
    )
