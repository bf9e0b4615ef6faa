"""A layer whose weight, and bias if that takes part, is the base's plus what the active adapters add."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from gpart.compute.compiled import adapted_in_graph
from gpart.compute.deltas import Delta, effective_weight
from gpart.compute.functional import adapted_product
from gpart.compute.products import Identity, Product, product_of
from gpart.compute.slices import LayerSlice
from gpart.numerics import accumulation_dtype
from gpart.tuner.base_layers import BaseLayer, check_supported, is_quantised, merge_refusal, rounding_left, storage_name
from gpart.tuner.compat import BaseTunerLayer, check_adapters_to_merge, keep_trainable

Slices = dict[str, LayerSlice]
"""The slices of adapters, by the adapters' names."""


class GPartLayer(nn.Module, BaseTunerLayer):
    """Wraps a supported layer and computes with one effective weight, as in y = x (W + Delta_W)^T + b.

    Stride, padding, dilation and groups of a convolution, and the padding row of an embedding, are the base layer's.
    The sum over all active adapters is made in at least float32 and rounded once to the weight's type, by the same
    function in `forward` and in `merge`, so that both give the same bits.

    Of a layer whose weight is quantised, which cannot be read as it is, y = base(x) + x Delta_W^T; it is not merged.

    Args:
        base_layer: the layer to adapt.
        theta: the vectors of all adapters, by name, shared by all layers. They are parameters of the tuner, and not
            registered here: one vector has one name.
    """

    gpart_theta: nn.ParameterDict
    in_features: int
    out_features: int
    get_base_layer: Callable[[], BaseLayer]
    set_adapter: Callable[[list[str]], None]
    active_adapters: list[str]
    merged: bool
    disable_adapters: bool
    adapter_layer_names = ("gpart_theta",)
    other_param_names = ("gpart_slices", "gpart_bias_slices")
    #: Of the base's parameter that is adapted.
    parameter_name = "weight"

    def __init__(self, base_layer: BaseLayer, theta: nn.ParameterDict) -> None:
        super().__init__()
        self.base_layer = base_layer
        object.__setattr__(self, "gpart_theta", theta)
        self.gpart_slices: Slices = {}
        self.gpart_bias_slices: Slices = {}
        self._look_at(base_layer)
        self.merged_adapters: list[str] = []
        self._disable_adapters = False
        self._kept_base: list[Tensor] | None = None
        self._shared: Tensor | None = None
        self._rounding = 0.0
        #: Whether another module has the same weight, as a tied head has that of the embedding.
        self.tied = False
        self.train(base_layer.training)

    def _look_at(self, base_layer: BaseLayer) -> None:
        """Check the base and note what it computes."""
        check_supported(base_layer)
        self.padding, self.product = product_of(base_layer)
        self.fan_in_fan_out = isinstance(base_layer, Conv1D)
        self.quantised = is_quantised(base_layer)
        if self.quantised:
            keep_trainable(base_layer)
            quantised: Any = base_layer
            self.in_features, self.out_features = quantised.in_features, quantised.out_features
        elif isinstance(base_layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            self.in_features, self.out_features = base_layer.in_channels, base_layer.out_channels
        else:
            shape = base_layer.weight.shape
            self.in_features, self.out_features = reversed(shape) if isinstance(base_layer, nn.Linear) else shape

    def weight_and_bias(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor | None]:
        """The base's, as stored; of a quantised layer zeros of their shapes, in `dtype`, which take no memory."""
        base = self.get_base_layer()
        bias = getattr(base, "bias", None)
        if not self.quantised:
            return getattr(base, self.parameter_name), bias
        held = next(chain(base.parameters(), base.buffers()))
        zero = torch.zeros((), dtype=dtype, device=held.device)
        weight = zero.expand(self.out_features, self.in_features)
        return weight, zero.expand(self.out_features) if isinstance(bias, Tensor) else None

    def _tensors(self) -> list[tuple[Tensor, Slices]]:
        """The base's weight, and its bias if it has one, with the slices that fall on each."""
        weight, bias = self.weight_and_bias()
        return [(weight, self.gpart_slices), *([] if bias is None else [(bias, self.gpart_bias_slices)])]

    def _deltas(self, slices: Slices, adapters: list[str], tensor: Tensor) -> list[Delta]:
        return [slices[name].delta(self.gpart_theta[name], tensor) for name in adapters if name in slices]

    def forward(self, x: Tensor, *args: object, **kwargs: object) -> Tensor:
        """What the base layer would give with the effective weight and bias in place of its own.

        Args:
            x: as the base layer takes it: (..., in); of a convolution ([batch,] in, sizes); of an embedding (...), int.
            args: to the base layer, where that is called: without an active adapter, merged, or quantised.
            kwargs: the same.

        Returns:
            as the base layer gives it: (..., out); of a convolution ([batch,] out, sizes).

        Raises:
            TypeError: if gradients are asked for through a quantised base that passes none to its input.
        """
        names = self._acting()
        if not names:
            result: Tensor = self.base_layer(x, *args, **kwargs)
            return result
        if not self.quantised:
            weight, bias = self.weight_and_bias()
            return self._adapted(self.padding(x), weight, bias, names, weight.dtype)
        return self._beside_quantised(x, self.base_layer(x, *args, **kwargs), names)

    def _acting(self) -> list[str]:
        """The adapters that change the forward. What is merged and disabled is taken out."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        active = [] if self.disable_adapters or self.merged else self.active_adapters
        return [name for name in active if name in self.gpart_slices]

    def _beside_quantised(self, x: Tensor, result: Tensor, names: list[str]) -> Tensor:
        """The result of the base, with the product of the input and what the adapters add."""
        if torch.is_grad_enabled() and x.requires_grad and not result.requires_grad:
            base = self.get_base_layer()
            raise TypeError(
                f"Target module {base} is not supported in training: {storage_name(base)} passes no gradient to its "
                "input"
            )
        weight, bias = self.weight_and_bias(accumulation_dtype(x.dtype))
        if not any(name in self.gpart_bias_slices for name in names):
            bias = None
        return result + self._adapted(x, weight, bias, names, x.dtype).to(result.dtype)

    def _adapted(self, x: Tensor, weight: Tensor, bias: Tensor | None, names: list[str], dtype: torch.dtype) -> Tensor:
        """The product, in `dtype`, with what weight and bias become by the adapters."""
        if bias is not None and any(name in self.gpart_bias_slices for name in names):
            bias = self._product(Identity(), bias.detach(), bias, None, self.gpart_bias_slices, names, bias.dtype)
            bias = bias.to(dtype) if self.quantised else bias
        kind = x.device.type
        if torch.is_autocast_enabled(kind) and dtype != torch.float64 and x.is_floating_point():
            # What autocast does to the operands of a matrix product; it does not reach into an autograd.Function's
            # backward.
            dtype = torch.get_autocast_dtype(kind)
            x = x if x.dtype == torch.float64 else x.to(dtype)
            bias = bias if bias is None or bias.dtype == torch.float64 else bias.to(dtype)
        return self._product(self.product, x, weight, bias, self.gpart_slices, names, dtype)

    def _product(
        self,
        product: Product,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        slices: Slices,
        adapters: list[str],
        dtype: torch.dtype,
    ) -> Tensor:
        """`product` with what `weight` becomes by the adapters' slices."""
        parts = [(slices[name], self.gpart_theta[name]) for name in adapters if name in slices]
        dropped = self.training and any(part.dropout for part, _ in parts)
        if torch.compiler.is_compiling():
            seeds = [part.mask_seed(weight) for part, _ in parts] if dropped else []
            thetas, numbers = [theta for _, theta in parts], [part.number for part, _ in parts]
            return adapted_in_graph(x, weight, bias, thetas, seeds, numbers, product=product, dtype=dtype)
        deltas = [part.delta(theta, weight, part.mask_seed(weight) if dropped else None) for part, theta in parts]
        return adapted_product(x, weight, bias, deltas, product=product, dtype=dtype)

    def get_delta_weight(self, adapter: str) -> Tensor:
        """What `adapter` adds to the weight, shaped and stored like it, in at least float32."""
        weight, _ = self.weight_and_bias()
        return self._deltas(self.gpart_slices, [adapter], weight)[0].dense(weight.shape)

    def get_delta_bias(self, adapter: str) -> Tensor | None:
        """What `adapter` adds to the bias, (out,), in at least float32; None where the bias takes no part."""
        if adapter not in self.gpart_bias_slices:
            return None
        _, bias = self.weight_and_bias()
        assert bias is not None
        return self._deltas(self.gpart_bias_slices, [adapter], bias)[0].dense(bias.shape)

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Replace weight and bias of the base by the effective ones of the named adapters, by default of all active.

        Args:
            safe_merge: refuse a result with entries that are not finite, and leave the base as it was.
            adapter_names: adapters to merge.

        Raises:
            ValueError: if `safe_merge` finds such entries, or the layer is quantised.
        """
        names = [name for name in check_adapters_to_merge(self, adapter_names) if name in self.gpart_slices]
        if not names:
            return
        if self.quantised:
            raise ValueError(merge_refusal(self.get_base_layer()))
        before = [tensor.data for tensor, _ in self._tensors()]
        kept = self._kept_base is not None
        merged = self._with(self._kept_base or before, [*self.merged_adapters, *names] if kept else names)
        if safe_merge and not all(torch.isfinite(tensor).all() for tensor in merged):
            raise ValueError(f"NaNs detected in the merged weights. The adapter {','.join(names)} seems to be broken")
        if not self.merged and (self.tied or any(self.gpart_slices[name].keep_base for name in names)):
            self._kept_base = before
        if not self.merged and self.tied:
            # The other module keeps the parameter, and with it the base's values.
            base = self.get_base_layer()
            self._shared, _ = self.weight_and_bias()
            own = nn.Parameter(self._shared.data, requires_grad=self._shared.requires_grad)
            setattr(base, self.parameter_name, own)
        self._set_base(merged)
        self.merged_adapters += names
        if self._kept_base is None:
            apart = [(one - other).abs().max() for one, other in zip(self._without_merged(), before, strict=True)]
            self._rounding = max(self._rounding, *map(float, apart))

    def _with(self, tensors: list[Tensor], adapters: list[str]) -> list[Tensor]:
        """The base's tensors plus what the adapters add, rounded to their types."""
        pairs = zip(tensors, self._tensors(), strict=True)
        return [effective_weight(tensor, self._deltas(slices, adapters, tensor)) for tensor, (_, slices) in pairs]

    def _without_merged(self) -> list[Tensor]:
        """The base's tensors minus what the merged adapters add, rounded to their types."""
        return [
            effective_weight(
                tensor.data,
                [Delta(-delta.value, delta.groups) for delta in self._deltas(slices, self.merged_adapters, tensor)],
            )
            for tensor, slices in self._tensors()
        ]

    def _set_base(self, values: list[Tensor]) -> None:
        for (tensor, _), value in zip(self._tensors(), values, strict=True):
            tensor.data = value

    def unmerge(self) -> None:
        """Take the merged adapters out of the base again: every bit if it was kept, else up to rounding."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        if rounding := self.take_out():
            warnings.warn(rounding_left(rounding), stacklevel=2)

    @torch.no_grad()
    def take_out(self) -> float:
        """What `unmerge` does, without its warning.

        Returns:
            how far entries are at most from what they were before merging.
        """
        self._set_base(self._without_merged() if self._kept_base is None else self._kept_base)
        rounding = self._rounding if self._kept_base is None else 0.0
        if self._shared is not None:
            setattr(self.get_base_layer(), self.parameter_name, self._shared)
        self._kept_base = self._shared = None
        self._rounding = 0.0
        self.merged_adapters.clear()
        return rounding

    def _move_adapter_to_device_of_base_layer(self, adapter_name: str, device: torch.device | None = None) -> None:
        """Move the vector to its first layer; PEFT asks every layer, and they may be on several devices."""
        part = self.gpart_slices.get(adapter_name)
        if part is not None and part.index == 0:
            theta = self.gpart_theta[adapter_name]
            theta.data = theta.data.to(device or self.weight_and_bias()[0].device)

    def _get_available_adapters(self) -> set[str]:
        # PEFT's own, for its status, takes every adapter of the tuner, since the vectors are shared.
        return set(self.gpart_slices)

    def __repr__(self) -> str:
        return f"gpart.{super().__repr__()}"


class GPartLinear(GPartLayer):
    """A dense layer. PEFT's "all-linear" knows those that are adapted already by the word in their class's name."""


def wrapped(base: BaseLayer, theta: nn.ParameterDict) -> GPartLayer:
    """The wrapper of a layer; arguments as `GPartLayer` has them."""
    kind = GPartLayer if isinstance(base, nn.Embedding | nn.Conv1d | nn.Conv2d | nn.Conv3d) else GPartLinear
    return kind(base, theta)
