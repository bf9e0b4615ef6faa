"""What half precision and dropout leave of a map: the same distances, measured on what arrives in the weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from baselines import Adapted
from baselines.injection import ADAPTER
from experiments.diagnostics.distances import Effect, RandomPairs, random_ratios
from experiments.diagnostics.linear import Columns
from experiments.diagnostics.weight_map import Weight, WeightMap
from gpart import GPartLayer
from schema.diagnostics import Dropout, Precision, Rounded


def precision(adapted: Adapted, pairs: RandomPairs, columns: Columns | None) -> Precision:
    """`precision` of the record, by type.

    Args:
        adapted: the model.
        pairs: random points.
        columns: of the map where it is linear.
    """

    def rounded(dtype: torch.dtype) -> Rounded:
        weight_map = WeightMap(adapted, dtype)
        ratios = random_ratios(weight_map, _arriving(weight_map), pairs)
        return Rounded(ratios=ratios, gram=columns.gram(dtype) if columns else None)

    return Precision(float32=rounded(torch.float32), bfloat16=rounded(torch.bfloat16), float16=rounded(torch.float16))


def _arriving(weight_map: WeightMap) -> Effect:
    """W + Delta_W rounded to the map's type, less W in that type; summed in float32, as merging does."""
    bases = [base.weight.detach().to(weight_map.device, weight_map.dtype) for base in weight_map.bases]

    def effect(pieces: Mapping[int, Tensor], weight: Weight, _: int) -> Tensor:
        change = weight_map.change(pieces, weight)
        if weight.layer is None:
            return change
        base = bases[weight.layer]
        return (base.float() + change.float()).to(base.dtype).double() - base.double()

    return effect


def dropout(weight_map: WeightMap, pairs: RandomPairs) -> Dropout | None:
    """`dropout` of the record; null where no layer of the adapter drops anything."""
    probabilities = {probability(weight_map.layer(w)) for w in weight_map.weights if w.layer is not None}
    if not probabilities - {0.0}:
        return None
    ratios = random_ratios(weight_map, _dropped(weight_map, pairs.seed), pairs)
    return Dropout(probability=max(probabilities), ratios=ratios)


def probability(layer: nn.Module) -> float:
    """With which a layer of the adapter drops entries of its change (GPart) or of its input (all others)."""
    if isinstance(layer, GPartLayer):
        return float(layer.gpart_slices[ADAPTER].dropout)
    return max((module.p for module in layer.modules() if isinstance(module, nn.Dropout)), default=0.0)


def _dropped(weight_map: WeightMap, seed: int) -> Effect:
    """The change with one mask per pair and weight.

    A dropped entry of the input is a column of the change that is dropped; what is kept is scaled up.
    """

    def effect(pieces: Mapping[int, Tensor], weight: Weight, pair: int) -> Tensor:
        if weight.layer is None:
            return weight_map.change(pieces, weight)
        layer = weight_map.layer(weight)
        (mixed,) = np.random.SeedSequence((seed, pair, weight.layer)).generate_state(1)
        generator = torch.Generator().manual_seed(int(mixed))
        change = weight_map.change(pieces, weight)
        shape = weight.shape
        if not isinstance(layer, GPartLayer):
            shape = (shape[0], 1) if weight_map.stored_as_in_out(weight) else (1, shape[1])
        p = probability(layer)
        kept = torch.rand(shape, dtype=torch.float64, generator=generator) >= p
        return change * kept.to(change.device) / (1 - p)

    return effect
