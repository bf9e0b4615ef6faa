"""A method as a map from its trained values to the weights that it changes, without the backbone around it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

from baselines import Adapted
from baselines.injection import ADAPTER, PREFIX
from experiments.diagnostics.errors import NotApplicableError

PROBES = 3
"""Inputs on which each layer's output is compared with its weight change."""
TOLERANCE = 1e-9
"""Largest difference, relative to the outputs, that counts as rounding of float64."""


Compute = Callable[[BaseTunerLayer], Tensor]
"""Something computed with an adapter layer."""


class NotAWeightMapError(NotApplicableError):
    """The method does something else than add to weights, or trains nothing outside the head."""


@dataclass(frozen=True)
class Trained:
    """One tensor of trained values: its name in the model, its shape, and where it lies among all of them."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)


@dataclass(frozen=True)
class Weight:
    """One tensor of the backbone that the method changes.

    Attributes:
        name: of the module in the bare backbone, or of the parameter where it is itself trained.
        shape: as stored.
        reads: numbers of the trained tensors on which it depends.
        layer: its number among the adapter's layers; None where the trained tensor is the weight.
    """

    name: str
    shape: tuple[int, ...]
    reads: tuple[int, ...]
    layer: int | None


@dataclass(frozen=True)
class Block:
    """Trained tensors and weights that depend on each other and on nothing else."""

    trained: tuple[int, ...]
    weights: tuple[int, ...]
    identity: bool


class _Layers(nn.Module):
    """Copies of the adapter's layers around bases without content, and what those layers share."""

    def __init__(self, layers: Sequence[nn.Module], shared: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers, self.shared = nn.ModuleList(layers), nn.ModuleList(shared)

    def forward(self, number: int, compute: Compute) -> Tensor:
        return compute(self.layers[number])


def _weight_change(layer: BaseTunerLayer) -> Tensor:
    change: Tensor = layer.get_delta_weight(ADAPTER)
    return change


class WeightMap:
    """phi: trained values (n,), the head apart, to the changes of all adapted weights, shaped as they are stored.

    Adapter layers are copied in `dtype` with stand-ins for their bases, so that the model is left as it is and no more
    of it is copied than the adapter. What a layer's `get_delta_weight` says is held against what the layer computes.
    Where a trained tensor is itself a weight, the map is the identity, and gives the weight in place of its change.

    Args:
        adapted: the model, its trained values at any point.
        dtype: of values, fixed state and results.

    Raises:
        NotAWeightMapError: if nothing trains outside the head, or a layer does not add to a dense weight.
    """

    def __init__(self, adapted: Adapted, dtype: torch.dtype = torch.float64) -> None:
        parameters = adapted.adapter_parameters()
        if not parameters:
            raise NotAWeightMapError(f"{adapted.name} trains nothing outside the head")
        self.dtype, self.device = dtype, _device(parameters[0][1])
        self.trained: list[Trained] = []
        for name, parameter in parameters:
            self.trained.append(Trained(name, tuple(parameter.shape), self.parameters))
        layers = {n: m for n, m in adapted.model.named_modules() if isinstance(m, BaseTunerLayer)}
        for name, layer in layers.items():
            _check_kind(name, layer)
        self.bases = [layer.get_base_layer() for layer in layers.values()]
        copies: dict[int, object] = {}
        self._copy_layers(adapted, list(layers.values()), copies)
        names = {id(p): name for name, p in self._layers.named_parameters()}
        self._places = [names.get(id(copies.get(id(p)))) for _, p in parameters]
        self._inside = tuple(i for i, place in enumerate(self._places) if place is not None)
        self._layers.to(self.device, dtype).eval().requires_grad_(False)
        self.weights = [
            Weight(name.removeprefix(PREFIX), tuple(base.weight.shape), self._reads(number), number)
            for number, (name, base) in enumerate(zip(layers, self.bases, strict=True))
        ] + [Weight(t.name, t.shape, (i,), None) for i, t in enumerate(self.trained) if self._places[i] is None]

    def _copy_layers(self, adapted: Adapted, layers: Sequence[BaseTunerLayer], copies: dict[int, object]) -> None:
        """Deep copies that leave out the bases; `copies` then has the copy of every object by the original's id."""
        for layer in layers:
            copies[id(layer.base_layer)] = _stand_in(layer.get_base_layer(), self.dtype, self.device)
        tuner = getattr(adapted.model, "base_model", None) if layers else None
        children = [] if tuner is None else [m for n, m in tuner.named_children() if n != "model"]
        self._layers = _Layers([copy.deepcopy(m, copies) for m in layers], [copy.deepcopy(m, copies) for m in children])

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(trained.size for trained in self.trained)

    @property
    def size(self) -> int:
        """Number of weights that the method may change."""
        return sum(prod(weight.shape) for weight in self.weights)

    def layer(self, weight: Weight) -> nn.Module:
        """The copy of the adapter layer that changes this weight."""
        assert weight.layer is not None
        return self._layers.layers[weight.layer]

    def stored_as_in_out(self, weight: Weight) -> bool:
        """Whether the weight is that of a transformers' `Conv1D`, (in, out)."""
        return weight.layer is not None and isinstance(self.bases[weight.layer], Conv1D)

    def flat(self, values: Mapping[str, Tensor]) -> Tensor:
        """Values by parameter name as one vector (n,) in float64."""
        pieces = [values[t.name].detach().reshape(-1) for t in self.trained]
        return torch.cat([piece.to(self.device, torch.float64) for piece in pieces])

    def pieces(self, values: Tensor) -> dict[int, Tensor]:
        """The trained tensors by number, out of one vector (n,), in the map's type."""
        return split(values.to(self.dtype), [(i, t.shape) for i, t in enumerate(self.trained)])

    def change(self, pieces: Mapping[int, Tensor], weight: Weight) -> Tensor:
        """The change of one weight, or the weight itself where it is trained; differentiable in `pieces`.

        Args:
            pieces: the trained tensors by number, as `pieces` gives them; at least those that the weight reads.
            weight: of the map.

        Returns:
            shaped as the weight is stored, in the map's type.
        """
        if weight.layer is None:
            return pieces[weight.reads[0]]
        return self._call(pieces, weight.reads, weight.layer, _weight_change)

    def _call(self, pieces: Mapping[int, Tensor], reads: Sequence[int], layer: int, compute: Compute) -> Tensor:
        """What `compute` makes of an adapter layer while that holds these values."""
        values = {str(self._places[i]): pieces[i] for i in reads}
        result: Tensor = functional_call(self._layers, values, (layer, compute))
        return result

    def _reads(self, layer: int) -> tuple[int, ...]:
        leaves = {i: torch.ones(self.trained[i].shape, dtype=self.dtype, device=self.device) for i in self._inside}
        for leaf in leaves.values():
            leaf.requires_grad_()
        with torch.enable_grad():
            change = self._call(leaves, self._inside, layer, _weight_change)
        if not change.requires_grad:
            return ()
        gradients = torch.autograd.grad(change.sum(), list(leaves.values()), allow_unused=True)
        return tuple(i for i, gradient in zip(self._inside, gradients, strict=True) if gradient is not None)

    @torch.no_grad()
    def check(self, values: Tensor, generator: torch.Generator) -> None:
        """Hold every layer's output against its weight change, on random inputs, with the layer's true base.

        Args:
            values: (n,), where to compare; some at which the change is not zero.
            generator: on the CPU, of the inputs.

        Raises:
            NotAWeightMapError: naming the first layer that computes something else.
        """
        pieces = self.pieces(values)
        for weight in self.weights:
            if weight.layer is None:
                continue
            base = copy.deepcopy(self.bases[weight.layer]).to(self.device, self.dtype)
            change = self.change(pieces, weight)
            change = change.mT if isinstance(base, Conv1D) else change
            x = torch.randn(PROBES, change.shape[1], dtype=torch.float64, generator=generator).to(change)
            output = self._call(pieces, self._inside, weight.layer, partial(_around, base, x))
            plain = base(x)
            error, scale = (output - plain - x @ change.mT).abs().max(), plain.abs().max() + output.abs().max()
            if not error <= TOLERANCE * scale:
                raise NotAWeightMapError(f"{weight.name}: its output is not its base's with the weight changed")

    def blocks(self) -> list[Block]:
        """The independent parts of the map: its Jacobian is block diagonal in them."""
        group = list(range(len(self.trained)))
        for weight in self.weights:
            joined = {group[i] for i in weight.reads}
            group = [min(joined) if g in joined else g for g in group]
        return [
            Block(
                tuple(i for i, g in enumerate(group) if g == root),
                tuple(k for k, weight in enumerate(self.weights) if weight.reads and group[weight.reads[0]] == root),
                self._places[root] is None,
            )
            for root in sorted(set(group))
        ]

    @property
    def is_identity(self) -> bool:
        """Whether all trained tensors are weights of the backbone."""
        return all(weight.layer is None for weight in self.weights)


def split(values: Tensor, shapes: Sequence[tuple[int, tuple[int, ...]]]) -> dict[int, Tensor]:
    """Consecutive pieces of a vector, by number, in the shapes given."""
    parts = values.split([prod(shape) for _, shape in shapes])
    return {number: part.view(shape) for part, (number, shape) in zip(parts, shapes, strict=True)}


def _around(base: nn.Module, x: Tensor, layer: BaseTunerLayer) -> Tensor:
    """The output of an adapter layer with `base` inside it."""
    stand_in, layer.base_layer = layer.base_layer, base
    try:
        output: Tensor = layer(x)
        return output
    finally:
        layer.base_layer = stand_in


def _device(parameter: Tensor) -> torch.device:
    # Apple's accelerator has no float64.
    return torch.device("cpu") if parameter.device.type == "mps" else parameter.device


def _check_kind(name: str, layer: BaseTunerLayer) -> None:
    if not hasattr(layer, "get_delta_weight"):
        raise NotAWeightMapError(f"{name}: a {type(layer).__name__} adds no change to a weight")
    if not isinstance(layer.get_base_layer(), (nn.Linear, Conv1D)):
        raise NotAWeightMapError(f"{name}: its base is a {type(layer.get_base_layer()).__name__}, not a dense layer")


def _stand_in(base: nn.Linear | Conv1D, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """A layer of the base's kind and shape whose weight is one zero, seen in every position."""
    zero = torch.zeros((), dtype=dtype, device=device).expand(base.weight.shape)
    stand_in: nn.Module = copy.copy(base)
    stand_in._parameters = {"weight": nn.Parameter(zero, requires_grad=False), "bias": None}
    stand_in._buffers = {}
    return stand_in
