"""An adapted layer as one operator of `torch.compile`'s graphs, which neither breaks them nor is looked into.

The operator runs what the layer runs without compilation: it gives the same bits, and makes the effective weight again
in backward, where a graph of plain operations would keep one for every layer. A partition is nothing that a graph can
hold, so the graph holds a number by which its slice is found, in this process alone: what torch.export makes of an
adapted model is of use nowhere else; of a merged one it is. Derivatives are of first order, as compiled ones are;
torch.func's transforms go through a model that is not compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, Protocol
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from gpart.functional import Plan, Term
from gpart.products import Product, decoded, encoded


class Slice(Protocol):
    """An adapter's part of a layer, as far as the operator needs it."""

    def term(self, theta: Tensor, weight: Tensor, noise: Tensor | None) -> Term:
        """The adapter's term for a weight."""

    def for_theta(self, for_value: Tensor, theta: Tensor, noise: Tensor | None) -> Tensor:
        """The gradient to the vector, (d,), of that to the term's value."""


_SLICES: WeakValueDictionary[int, Slice] = WeakValueDictionary()
_NUMBERS = count()
_FORWARD = (
    "(Tensor x, Tensor weight, Tensor? bias, Tensor[] thetas, Tensor[] noise, SymInt[] slices, int[] product, "
    "ScalarType dtype) -> Tensor"
)
_BACKWARD = (
    "(Tensor gradient, Tensor x, Tensor weight, Tensor? bias, Tensor[] thetas, Tensor[] noise, SymInt[] slices, "
    "int[] product, ScalarType dtype, bool[] needs) -> Tensor[]"
)


def numbered(part: Slice) -> int:
    """A number by which graphs find the slice, as long as it lives."""
    number = next(_NUMBERS)
    _SLICES[number] = part
    return number


def adapted_in_graph(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    thetas: list[Tensor],
    noise: list[Tensor],
    slices: list[int],
    *,
    product: Product,
    dtype: torch.dtype,
) -> Tensor:
    """`functional.adapted_product` as one operator.

    Args:
        x: the input.
        weight: of the base layer.
        bias: of the base layer.
        thetas: the vectors of the adapters.
        noise: of dropout, for each adapter; empty where nothing is dropped.
        slices: the number of each adapter's slice.
        product: of the layer.
        dtype: of the product.
    """
    result: Tensor = _adapted(x, weight, bias, thetas, noise, slices, encoded(product), dtype)
    return result


@torch.library.custom_op("gpart::adapted", mutates_args=(), schema=_FORWARD)
def _adapted(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    thetas: Sequence[Tensor],
    noise: Sequence[Tensor],
    slices: Sequence[int],
    product: Sequence[int],
    dtype: torch.dtype,
) -> Tensor:
    plan, pieces = _planned(weight, thetas, noise, slices, decoded(product), dtype)
    return plan.product(x, plan.effective(weight, pieces), bias)


@_adapted.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    thetas: Any,
    noise: Any,
    slices: Any,
    product: Any,
    dtype: torch.dtype,
) -> Tensor:
    return decoded(product)(x, torch.empty_like(weight, dtype=dtype), bias)


def _planned(
    weight: Tensor,
    thetas: Sequence[Tensor],
    noise: Sequence[Tensor],
    slices: Sequence[int],
    product: Product,
    dtype: torch.dtype,
) -> tuple[Plan, list[Tensor | None]]:
    each: Sequence[Tensor | None] = noise or [None] * len(thetas)
    terms = [_SLICES[n].term(theta, weight, one) for n, theta, one in zip(slices, thetas, each, strict=True)]
    return Plan.of(product, dtype, terms)


@torch.library.custom_op("gpart::adapted_backward", mutates_args=(), schema=_BACKWARD)
def _adapted_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    thetas: Sequence[Tensor],
    noise: Sequence[Tensor],
    slices: Sequence[int],
    product: Sequence[int],
    dtype: torch.dtype,
    needs: Sequence[bool],
) -> list[Tensor]:
    """The gradients that are needed, in order."""
    plan, pieces = _planned(weight, thetas, noise, slices, decoded(product), dtype)
    for_x, for_weight, for_bias, *for_values = plan.gradients(gradient, x, weight, pieces, needs)
    each: Sequence[Tensor | None] = noise or [None] * len(thetas)
    for_thetas = [
        None if value is None else _SLICES[n].for_theta(value, theta, one)
        for n, value, theta, one in zip(slices, for_values, thetas, each, strict=True)
    ]
    return [one.contiguous() for one in (for_x, for_weight, for_bias, *for_thetas) if one is not None]


@_adapted_backward.register_fake
def _(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    thetas: Any,
    noise: Any,
    slices: Any,
    product: Any,
    dtype: torch.dtype,
    needs: Sequence[bool],
) -> list[Tensor]:
    wanted = [one for one, needed in zip((x, weight, bias, *thetas), needs, strict=True) if needed and one is not None]
    return [torch.empty_like(one, memory_format=torch.contiguous_format) for one in wanted]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, thetas, noise, *ctx.rest = inputs
    ctx.has_bias, ctx.n_thetas, ctx.n_noise = bias is not None, len(thetas), len(noise)
    ctx.save_for_backward(x, weight, bias, *thetas, *noise)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    x, weight, bias, *others = ctx.saved_tensors
    thetas, noise = others[: ctx.n_thetas], others[ctx.n_thetas :]
    needs_x, needs_weight, needs_bias, needs_thetas, *_ = ctx.needs_input_grad
    needs = [needs_x, needs_weight, needs_bias and ctx.has_bias, *needs_thetas]
    found = iter(_adapted_backward(gradient, x, weight, bias, thetas, noise, *ctx.rest, needs))
    for_x, for_weight, for_bias, *for_thetas = [next(found) if needed else None for needed in needs]
    return for_x, for_weight, for_bias, for_thetas, [None] * ctx.n_noise, None, None, None


_adapted.register_autograd(_backward, setup_context=_setup_context)
