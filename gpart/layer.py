"""A layer whose weight is the base's plus what the active adapters add."""

from __future__ import annotations

from gpart.compat import BaseTunerLayer, check_adapters_to_merge
from gpart.compiled import adapted_in_graph, numbered
from gpart.functional import Term, accumulation_dtype, adapted_product, effective_weight
from gpart.partition import Partition
from gpart.products import product_of

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class LayerSlice:
    """The part of an adapter that falls on one layer.

    Attributes:
        partition: of the adapter.
        index: of the layer in the partition.
        dropout: probability that an entry of the change is dropped in training.
        keep_base: whether merging keeps a copy of the base weight.
        number: by which compiled graphs find it.
    """

    partition: Partition
    index: int
    dropout: float
    keep_base: bool
    number: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", numbered(self))

    def __reduce__(self) -> tuple[type[LayerSlice], tuple[Any, ...]]:
        # A copy, or what is unpickled in another process, has a number of its own.
        return LayerSlice, (self.partition, self.index, self.dropout, self.keep_base)

    def mask(self, weight: Tensor) -> Tensor:
        """A new dropout mask from torch's generator, held until backward: one byte per entry of the weight."""
        if not self.dropout:
            return torch.ones(weight.shape, dtype=torch.bool, device=weight.device)
        return torch.rand(weight.shape, device=weight.device) >= self.dropout

    def term(self, theta: Tensor, weight: Tensor, kept: Tensor | None = None) -> Term:
        """The adapter's term for `weight`, with the mask if one is given."""
        value = self.partition.scaled(theta, accumulation_dtype(weight.dtype), weight.device)
        if kept is not None:
            value = value / (1 - self.dropout)
        return Term(value, self.partition.layer_groups(self.index, weight.device), kept)

    def for_theta(self, for_value: Tensor, theta: Tensor, kept: Tensor | None) -> Tensor:
        """The gradient to the vector, (d,), of that to the term's value."""
        if kept is not None:
            for_value = for_value / (1 - self.dropout)
        return (for_value * self.partition.scale(for_value.dtype, for_value.device)).to(theta)


#: The supported layers, with the forward that each must have.
_SUPPORTED: dict[type[nn.Module], Callable[..., Any]] = {
    kind: kind.forward for kind in (nn.Linear, Conv1D, nn.Embedding, nn.Conv2d)
}


def check_supported(module: nn.Module) -> None:
    """Refuse a module whose output is not a plain product with its weight.

    Raises:
        TypeError: naming the module and what is supported, in PEFT's words.
    """
    refused = f"Target module {module} is not supported"
    if not any(isinstance(module, kind) and type(module).forward is forward for kind, forward in _SUPPORTED.items()):
        raise TypeError(
            f"{refused}. Currently, only the following modules are supported: `torch.nn.Linear`, "
            "`torch.nn.Embedding`, `torch.nn.Conv2d`, `transformers.pytorch_utils.Conv1D`."
        )
    if module.weight.dtype not in _DTYPES:
        raise TypeError(f"{refused}: its weight is {module.weight.dtype}; accepted are {', '.join(map(str, _DTYPES))}")
    if isinstance(module, nn.Embedding):
        if module.sparse:
            raise TypeError(f"{refused}: sparse: True; accepted is False")
        if module.max_norm is not None:
            raise TypeError(f"{refused}: max_norm: {module.max_norm}, which changes the weight; accepted is None")


class GPartLayer(nn.Module, BaseTunerLayer):
    """Wraps a supported layer and computes with one effective weight, as in y = x (W + Delta_W)^T + b.

    Stride, padding, dilation and groups of a convolution, and the padding row of an embedding, are the base layer's.
    The sum over all active adapters is made in at least float32 and rounded once to the weight's type, by the same
    function in `forward` and in `merge`, so that both give the same bits.

    Args:
        base_layer: the layer to adapt.
        theta: the vectors of all adapters, by name, shared by all layers. They are parameters of the tuner, and not
            registered here: one vector has one name.
    """

    gpart_theta: nn.ParameterDict
    get_base_layer: Callable[[], Any]
    set_adapter: Callable[..., None]
    active_adapters: list[str]
    merged: bool
    disable_adapters: bool
    adapter_layer_names = ("gpart_theta",)
    other_param_names = ("gpart_slices",)

    def __init__(self, base_layer: nn.Linear | Conv1D | nn.Embedding | nn.Conv2d, theta: nn.ParameterDict) -> None:
        super().__init__()
        check_supported(base_layer)
        self.base_layer = base_layer
        object.__setattr__(self, "gpart_theta", theta)
        self.gpart_slices: dict[str, LayerSlice] = {}
        self.padding, self.product = product_of(base_layer)
        self.fan_in_fan_out = isinstance(base_layer, Conv1D)
        if isinstance(base_layer, nn.Conv2d):
            self.in_features, self.out_features = base_layer.in_channels, base_layer.out_channels
        else:
            rows, columns = base_layer.weight.shape
            stored_as_out_in = isinstance(base_layer, nn.Linear)
            self.in_features, self.out_features = (columns, rows) if stored_as_out_in else (rows, columns)
        self.merged_adapters: list[str] = []
        self._disable_adapters = False
        self._kept_base: Tensor | None = None
        self._rounding = 0.0
        self.train(base_layer.training)

    def _terms(self, adapters: list[str]) -> list[Term]:
        weight = self.get_base_layer().weight
        return [
            self.gpart_slices[name].term(self.gpart_theta[name], weight)
            for name in adapters
            if name in self.gpart_slices
        ]

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What the base layer would give with the effective weight in place of its own."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        names = [] if self.disable_adapters or self.merged else self.active_adapters
        parts = [(self.gpart_slices[name], self.gpart_theta[name]) for name in names if name in self.gpart_slices]
        if not parts:
            result: Tensor = self.base_layer(x, *args, **kwargs)
            return result
        x, base = self.padding(x), self.get_base_layer()
        weight, bias, dtype = base.weight, getattr(base, "bias", None), base.weight.dtype
        kind = x.device.type
        if torch.is_autocast_enabled(kind) and dtype != torch.float64 and x.is_floating_point():
            # What autocast does to the operands of a matrix product; it does not reach into an autograd.Function's
            # backward.
            dtype = torch.get_autocast_dtype(kind)
            x = x if x.dtype == torch.float64 else x.to(dtype)
            bias = bias if bias is None or bias.dtype == torch.float64 else bias.to(dtype)
        dropped = self.training and any(part.dropout for part, _ in parts)
        if torch.compiler.is_compiling():
            masks = [part.mask(weight) for part, _ in parts] if dropped else []
            thetas, numbers = [theta for _, theta in parts], [part.number for part, _ in parts]
            return adapted_in_graph(x, weight, bias, thetas, masks, numbers, product=self.product, dtype=dtype)
        terms = [part.term(theta, weight, part.mask(weight) if dropped else None) for part, theta in parts]
        return adapted_product(x, weight, bias, terms, product=self.product, dtype=dtype)

    def get_delta_weight(self, adapter: str) -> Tensor:
        """What `adapter` adds to the weight, shaped and stored like it, in at least float32."""
        weight = self.get_base_layer().weight
        return self._terms([adapter])[0].delta(weight.shape)

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Replace the base weight by the effective weight of the named adapters, by default of all active ones.

        Args:
            safe_merge: refuse a result with entries that are not finite, and leave the weight as it was.
            adapter_names: adapters to merge.

        Raises:
            ValueError: if `safe_merge` finds such entries.
        """
        names = [name for name in check_adapters_to_merge(self, adapter_names) if name in self.gpart_slices]
        if not names:
            return
        base = self.get_base_layer()
        before, start, every = base.weight.data, base.weight.data, names
        if self._kept_base is not None:
            start, every = self._kept_base, [*self.merged_adapters, *names]
        merged = effective_weight(start, self._terms(every))
        if safe_merge and not torch.isfinite(merged).all():
            raise ValueError(f"NaNs detected in the merged weights. The adapter {','.join(names)} seems to be broken")
        if not self.merged and any(self.gpart_slices[name].keep_base for name in names):
            self._kept_base = before
        base.weight.data = merged
        self.merged_adapters += names
        if self._kept_base is None:
            self._rounding = max(self._rounding, float((self._without(self.merged_adapters) - before).abs().max()))

    def _without(self, adapters: list[str]) -> Tensor:
        """The base weight minus what the adapters add, rounded to its type."""
        weight = self.get_base_layer().weight.data
        terms = [Term(-term.value, term.groups) for term in self._terms(adapters)]
        return effective_weight(weight, terms)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Take the merged adapters out of the weight again: every bit if the base was kept, else up to rounding."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        base = self.get_base_layer()
        if self._kept_base is not None:
            base.weight.data, self._kept_base = self._kept_base, None
        else:
            base.weight.data = self._without(self.merged_adapters)
            if self._rounding:
                warnings.warn(
                    f"Unmerging by subtraction left weights up to {self._rounding:.0e} off their values before "
                    "merging; keep_base=True restores them exactly",
                    stacklevel=2,
                )
        self._rounding = 0.0
        self.merged_adapters.clear()

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: torch.device | None = None) -> None:
        """Move the vector to its first layer; PEFT asks every layer, and they may be on several devices."""
        part = self.gpart_slices.get(adapter_name)
        if part is not None and part.index == 0:
            theta = self.gpart_theta[adapter_name]
            theta.data = theta.data.to(device or self.get_base_layer().weight.device)

    def __repr__(self) -> str:
        return f"gpart.{super().__repr__()}"
