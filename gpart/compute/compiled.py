"""An adapted layer as one operator of `torch.compile`'s graphs, which neither breaks them nor is looked into.

The operator runs what the layer runs without compilation: it gives the same bits, and makes the effective weight again
in backward, where a graph of plain operations would keep one for every layer. A partition is nothing that a graph can
hold, so the graph holds a number by which its slice is found, in this process alone: what torch.export makes of an
adapted model is of use nowhere else; of a merged one it is. Derivatives are of first order, as compiled ones are;
torch.func's transforms go through a model that is not compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpart.compute.functional import ProductSpec
from gpart.compute.products import Product, decoded, encoded
from gpart.compute.slices import LayerSlice, numbered

#: What both operators take; the last five are the fields of `_Adapters`.
_INPUTS = (
    "Tensor x, Tensor weight, Tensor? bias, "
    "Tensor[] thetas, Tensor[] mask_seeds, SymInt[] slices, int[] product, ScalarType dtype"
)


_Fields = tuple[Sequence[Tensor], Sequence[Tensor], Sequence[int], Sequence[int], torch.dtype]


class _Adapters(NamedTuple):
    """The adapters of a layer and its product, in types that an operator may take; see `adapted_in_graph`."""

    thetas: Sequence[Tensor]
    mask_seeds: Sequence[Tensor]
    slices: Sequence[int]
    product: Sequence[int]
    dtype: torch.dtype

    def parts(self) -> list[tuple[LayerSlice, Tensor, Tensor | None]]:
        """Slice, vector and mask seed of each adapter."""
        seeds: Sequence[Tensor | None] = self.mask_seeds or [None] * len(self.thetas)
        return [(numbered(n), theta, s) for n, theta, s in zip(self.slices, self.thetas, seeds, strict=True)]

    def flatten(self, weight: Tensor) -> tuple[ProductSpec, list[Tensor | None]]:
        """See `ProductSpec.flatten`."""
        deltas = [part.delta(theta, weight, seed) for part, theta, seed in self.parts()]
        return ProductSpec.flatten(decoded(self.product), self.dtype, deltas)


def adapted_in_graph(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    thetas: list[Tensor],
    mask_seeds: list[Tensor],
    slices: list[int],
    *,
    product: Product,
    dtype: torch.dtype,
) -> Tensor:
    """`functional.adapted_product` as one operator.

    Args:
        x: the input, shaped as `product` takes it.
        weight: of the base layer, as stored.
        bias: of the base layer, (out,).
        thetas: the vectors of the adapters, (d,) each with its own d.
        mask_seeds: of dropout, for each adapter, () int64; empty where nothing is dropped.
        slices: the number of each adapter's slice, see `LayerSlice.number`.
        product: of the layer.
        dtype: of the product.

    Returns:
        shaped as `product` gives it.
    """
    result: Tensor = _adapted(x, weight, bias, thetas, mask_seeds, slices, encoded(product), dtype)
    return result


@torch.library.custom_op("gpart::adapted", mutates_args=(), schema=f"({_INPUTS}) -> Tensor")
def _adapted(x: Tensor, weight: Tensor, bias: Tensor | None, *adapters: *_Fields) -> Tensor:
    spec, leaves = _Adapters(*adapters).flatten(weight)
    return spec.product(x, spec.effective(weight, leaves), bias)


@_adapted.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, *adapters: *_Fields) -> Tensor:
    product, dtype = _Adapters(*adapters)[-2:]
    return decoded(product)(x, torch.empty_like(weight, dtype=dtype), bias)


@torch.library.custom_op(
    "gpart::adapted_backward", mutates_args=(), schema=f"(Tensor grad_output, bool[] needs, {_INPUTS}) -> Tensor[]"
)
def _adapted_backward(
    grad_output: Tensor,
    needs: Sequence[bool],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *adapters: *_Fields,
) -> list[Tensor]:
    """The gradients that are needed, in order."""
    spec, leaves = _Adapters(*adapters).flatten(weight)
    grad_x, grad_weight, grad_bias, *grad_values = spec.gradients(grad_output, x, weight, leaves, needs)
    parts = zip(grad_values, _Adapters(*adapters).parts(), strict=True)
    grad_thetas = [None if grad is None else part.grad_theta(grad, theta, s) for grad, (part, theta, s) in parts]
    return [one.contiguous() for one in (grad_x, grad_weight, grad_bias, *grad_thetas) if one is not None]


@_adapted_backward.register_fake
def _(
    grad_output: Tensor,
    needs: Sequence[bool],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *adapters: *_Fields,
) -> list[Tensor]:
    inputs = (x, weight, bias, *_Adapters(*adapters).thetas)
    wanted = [one for one, needed in zip(inputs, needs, strict=True) if needed and one is not None]
    return [torch.empty_like(one, memory_format=torch.contiguous_format) for one in wanted]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, thetas, mask_seeds, *ctx.rest = inputs
    ctx.has_bias, ctx.n_thetas, ctx.n_seeds = bias is not None, len(thetas), len(mask_seeds)
    ctx.save_for_backward(x, weight, bias, *thetas, *mask_seeds)


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
    x, weight, bias, *others = ctx.saved_tensors
    thetas, mask_seeds = others[: ctx.n_thetas], others[ctx.n_thetas :]
    needs_x, needs_weight, needs_bias, needs_thetas, *_ = ctx.needs_input_grad
    needs = [needs_x, needs_weight, needs_bias and ctx.has_bias, *needs_thetas]
    found = iter(_adapted_backward(grad_output, needs, x, weight, bias, thetas, mask_seeds, *ctx.rest))
    grad_x, grad_weight, grad_bias, *grad_thetas = [next(found) if needed else None for needed in needs]
    return grad_x, grad_weight, grad_bias, grad_thetas, [None] * ctx.n_seeds, None, None, None


_adapted.register_autograd(_backward, setup_context=_setup_context)
