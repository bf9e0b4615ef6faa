"""The forward and backward of one adapted layer, for autograd and torch.func alike.

Groups spread values over a layer and collect its gradient by torch's own index_select, index_add and sums, whose
derivatives torch knows to every order and in every mode, and which sum in a fixed order on the CPU (autograd's indexing
backward does not).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gpart import kernels
from gpart.dropout import mask
from gpart.products import Product


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which weight and change are added: at least float32."""
    return torch.promote_types(torch.float32, dtype)


class Groups(Protocol):
    """The groups of n positions, as what is done with them; both are linear and each other's adjoint."""

    def spread(self, value: Tensor) -> Tensor:
        """Give each position the value of its group: (d,) to (n,)."""

    def collect(self, gradient: Tensor, d: int) -> Tensor:
        """Sum over the positions of each group, in the accumulation type: (n,) to (d,)."""


@dataclass(frozen=True)
class IndexedGroups:
    """Groups by number.

    Attributes:
        ids: gives the group of each position, (n,).
    """

    ids: Callable[[], Tensor]

    def spread(self, value: Tensor) -> Tensor:
        """See `Groups.spread`."""
        return value.index_select(0, self.ids())

    def collect(self, gradient: Tensor, d: int) -> Tensor:
        """See `Groups.collect`."""
        gradient = gradient.to(accumulation_dtype(gradient.dtype))
        return torch.zeros(d, dtype=gradient.dtype, device=gradient.device).index_add(0, self.ids(), gradient)


@dataclass(frozen=True)
class SomeGroups:
    """Groups that are some of more, none of whose others reach the layer.

    Attributes:
        groups: those that do, numbered from 0 on.
        first: number of the first of them among all.
        count: how many they are.
    """

    groups: Groups
    first: int
    count: int

    def spread(self, value: Tensor) -> Tensor:
        """See `Groups.spread`."""
        return self.groups.spread(value.narrow(0, self.first, self.count))

    def collect(self, gradient: Tensor, d: int) -> Tensor:
        """See `Groups.collect`."""
        collected = self.groups.collect(gradient, self.count)
        return F.pad(collected, (self.first, d - self.first - self.count))


@dataclass(frozen=True)
class Term:
    """One adapter's part in a tensor of a layer.

    Attributes:
        value: what each group adds, (d,), in the accumulation type.
        groups: of the tensor's entries.
        noise: of dropout on the entries of the change, see `gpart.dropout`; None where none is dropped.
        dropout: probability that an entry is dropped.
    """

    value: Tensor
    groups: Groups
    noise: Tensor | None = None
    dropout: float = 0.0

    def delta(self, shape: torch.Size) -> Tensor:
        """The change of a tensor of this shape."""
        return self.dropped(self.groups.spread(self.value).view(shape))

    def dropped(self, change: Tensor) -> Tensor:
        """The entries of a change, or of a gradient to it, that dropout leaves, and zeros."""
        if self.noise is None:
            return change
        return change * mask(self.noise, self.dropout, change)


def effective_weight(weight: Tensor, terms: list[Term]) -> Tensor:
    """The weight plus every term, summed in order in the accumulation type and rounded once to the weight's type."""
    if len(terms) == 1 and terms[0].noise is None:
        fused = kernels.added(weight, terms[0].value, terms[0].groups)
        if fused is not None:
            return fused
        if kernels.underived(weight, terms[0].value):
            return terms[0].delta(weight.shape).add_(weight).to(weight.dtype)
    total = weight.to(accumulation_dtype(weight.dtype))
    for term in terms:
        total = total + term.delta(weight.shape)
    return total.to(weight.dtype)


@dataclass(frozen=True)
class Plan:
    """What the forward of a layer needs beside tensors that carry gradients.

    Attributes:
        product: of input and weight.
        dtype: of the product; differs from the weight's under autocast.
        constants: groups and dropout of each term.
    """

    product: Product
    dtype: torch.dtype
    constants: tuple[tuple[Groups, float], ...]

    @classmethod
    def of(cls, product: Product, dtype: torch.dtype, terms: Sequence[Term]) -> tuple[Plan, list[Tensor | None]]:
        """The plan, and the tensors of the terms: `value, noise` of each, as autograd is to see them."""
        plan = cls(product, dtype, tuple((term.groups, term.dropout) for term in terms))
        return plan, [piece for term in terms for piece in (term.value, term.noise)]

    def terms(self, pieces: Sequence[Tensor | None]) -> list[Term]:
        """The terms again, of those pieces that have a value."""
        triples = zip(pieces[0::2], pieces[1::2], self.constants, strict=True)
        return [Term(value, groups, noise, p) for value, noise, (groups, p) in triples if value is not None]

    def effective(self, weight: Tensor, pieces: Sequence[Tensor | None]) -> Tensor:
        """The weight of the product."""
        return effective_weight(weight, self.terms(pieces)).to(self.dtype)

    def gradients(
        self, gradient: Tensor, x: Tensor, weight: Tensor, pieces: Sequence[Tensor | None], needs: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        """The gradient of the output to those of x, weight, bias and each value, where `needs` says so; else None."""
        needs_x, needs_weight, needs_bias, *needs_values = needs
        for_x = for_weight = for_bias = None
        for_values: list[Tensor | None] = [None] * len(needs_values)
        if needs_x:
            for_x = self.product.for_input(gradient, x, self.effective(weight, pieces))
        if needs_bias:
            for_bias = self.product.for_bias(gradient)
        if needs_weight or any(needs_values):
            for_effective = self.product.for_weight(gradient, x, weight)
            for_weight = for_effective.to(weight.dtype) if needs_weight else None
            for index, term in enumerate(self.terms(pieces)):
                if needs_values[index]:
                    collected = term.groups.collect(term.dropped(for_effective).reshape(-1), term.value.shape[0])
                    for_values[index] = collected.to(term.value.dtype)
        return for_x, for_weight, for_bias, *for_values


def adapted_product(
    x: Tensor, weight: Tensor, bias: Tensor | None, terms: list[Term], *, product: Product, dtype: torch.dtype
) -> Tensor:
    """`product` with the effective weight in `dtype`. The effective weight is made again in backward, never kept."""
    plan, pieces = Plan.of(product, dtype, terms)
    result: Tensor = _Adapted.apply(x, weight, bias, plan, *pieces)
    return result


class _Adapted(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, plan: Plan, *pieces: Tensor | None) -> Tensor:
        return plan.product(x, plan.effective(weight, pieces), bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, plan, *pieces = inputs
        ctx.plan, ctx.has_bias, ctx.output_shape = plan, bias is not None, output.shape
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, *pieces)
        ctx.save_for_forward(x, weight, *pieces)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, *pieces = ctx.saved_tensors
        if gradient is None:
            return (None,) * (4 + len(pieces))
        needs_x, needs_weight, needs_bias, _, *needs_pieces = ctx.needs_input_grad
        needs = (needs_x, needs_weight, needs_bias and ctx.has_bias, *needs_pieces[0::2])
        for_x, for_weight, for_bias, *for_values = ctx.plan.gradients(gradient, x, weight, pieces, needs)
        return for_x, for_weight, for_bias, None, *(one for value in for_values for one in (value, None))

    @staticmethod
    def jvp(
        ctx: Any, x_t: Tensor | None, weight_t: Tensor | None, bias_t: Tensor | None, _: None, *pieces_t: Tensor | None
    ) -> Tensor:
        x, weight, *pieces = ctx.saved_tensors
        plan: Plan = ctx.plan
        tangents: list[Tensor] = []
        if x_t is not None:
            tangents.append(plan.product(x_t, plan.effective(weight, pieces), None))
        noise = pieces[1::2]
        moving = plan.terms([one for pair in zip(pieces_t[0::2], noise, strict=True) for one in pair])
        if weight_t is not None or moving:
            start = torch.zeros_like(weight) if weight_t is None else weight_t
            tangents.append(plan.product(x, effective_weight(start, moving).to(plan.dtype), None))
        if bias_t is not None:
            tangents.append(plan.product.along_bias(bias_t).expand(ctx.output_shape))
        total = tangents[0]
        for tangent in tangents[1:]:
            total = total + tangent
        return total


# Function.apply asks for it at each call, and python would look the function through each time.
_Adapted.forward.__signature__ = inspect.signature(_Adapted.forward)  # type: ignore[attr-defined]
