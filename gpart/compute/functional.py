"""The forward and backward of one adapted layer, for autograd and torch.func alike."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpart.compute.deltas import Delta, effective_weight
from gpart.compute.products import Product
from gpart.partition.groups import Groups


@dataclass(frozen=True)
class ProductSpec:
    """What an adapted product is, apart from the tensors that carry gradients; as a tree's structure to its leaves.

    Attributes:
        product: of input and weight.
        dtype: of the product; differs from the weight's under autocast.
        constants: groups and dropout of each change of the weight.
    """

    product: Product
    dtype: torch.dtype
    constants: tuple[tuple[Groups, float], ...]

    @classmethod
    def flatten(
        cls, product: Product, dtype: torch.dtype, deltas: Sequence[Delta]
    ) -> tuple[ProductSpec, list[Tensor | None]]:
        """Divide the changes into what is constant and what autograd is to see.

        Returns:
            the spec, and its leaves, two for each change: `value`, (d,), and `mask_seed`, (), or None.
        """
        spec = cls(product, dtype, tuple((delta.groups, delta.dropout) for delta in deltas))
        return spec, [leaf for delta in deltas for leaf in (delta.value, delta.mask_seed)]

    def unflatten(self, leaves: Sequence[Tensor | None]) -> list[Delta]:
        """The changes again, of leaves as `flatten` gives them; one whose value, (d,), is None is left out."""
        triples = zip(leaves[0::2], leaves[1::2], self.constants, strict=True)
        return [Delta(value, groups, seed, p) for value, seed, (groups, p) in triples if value is not None]

    def effective(self, weight: Tensor, leaves: Sequence[Tensor | None]) -> Tensor:
        """The weight of the product: the base's with all changes, shaped like `weight`, in the product's type."""
        return effective_weight(weight, self.unflatten(leaves)).to(self.dtype)

    def gradients(
        self, grad_output: Tensor, x: Tensor, weight: Tensor, leaves: Sequence[Tensor | None], needs: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        """The vector-Jacobian products of the adapted product.

        Args:
            grad_output: shaped like the output.
            x: the input of the product.
            weight: of the base layer.
            leaves: as `flatten` gives them.
            needs: whether each gradient is asked for: of x, weight, bias, and each change's value.

        Returns:
            the gradients of these, each shaped like what it is of, None where it is not asked for.
        """
        needs_x, needs_weight, needs_bias, *needs_values = needs
        grad_x = grad_weight = grad_bias = None
        grad_values: list[Tensor | None] = [None] * len(needs_values)
        if needs_x:
            grad_x = self.product.grad_input(grad_output, x, self.effective(weight, leaves))
        if needs_bias:
            grad_bias = self.product.grad_bias(grad_output)
        if needs_weight or any(needs_values):
            grad_effective = self.product.grad_weight(grad_output, x, weight)
            grad_weight = grad_effective.to(weight.dtype) if needs_weight else None
            for index, delta in enumerate(self.unflatten(leaves)):
                if needs_values[index]:
                    flat = delta.dropped(grad_effective).reshape(-1)
                    grad_values[index] = delta.groups.segment_sum(flat, delta.value.shape[0]).to(delta.value.dtype)
        return grad_x, grad_weight, grad_bias, *grad_values


def adapted_product(
    x: Tensor, weight: Tensor, bias: Tensor | None, deltas: list[Delta], *, product: Product, dtype: torch.dtype
) -> Tensor:
    """`product` with the effective weight, which is made again in backward and never kept.

    Args:
        x: the input, shaped as `product` takes it.
        weight: of the base layer, as stored.
        bias: of the base layer, (out,).
        deltas: changes of the weight.
        product: of input, weight and bias.
        dtype: of the effective weight in the product, and so of the output.

    Returns:
        shaped as `product` gives it.
    """
    spec, leaves = ProductSpec.flatten(product, dtype, deltas)
    result: Tensor = _Adapted.apply(x, weight, bias, spec, *leaves)
    return result


class _Adapted(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, spec: ProductSpec, *leaves: Tensor | None) -> Tensor:
        return spec.product(x, spec.effective(weight, leaves), bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, spec, *leaves = inputs
        ctx.spec, ctx.has_bias, ctx.output_shape = spec, bias is not None, output.shape
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, *leaves)
        ctx.save_for_forward(x, weight, *leaves)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, *leaves = ctx.saved_tensors
        if grad_output is None:
            return (None,) * (4 + len(leaves))
        needs_x, needs_weight, needs_bias, _, *needs_leaves = ctx.needs_input_grad
        needs = (needs_x, needs_weight, needs_bias and ctx.has_bias, *needs_leaves[0::2])
        grad_x, grad_weight, grad_bias, *grad_values = ctx.spec.gradients(grad_output, x, weight, leaves, needs)
        return grad_x, grad_weight, grad_bias, None, *(one for value in grad_values for one in (value, None))

    @staticmethod
    def jvp(
        ctx: Any, x_t: Tensor | None, weight_t: Tensor | None, bias_t: Tensor | None, _: None, *leaves_t: Tensor | None
    ) -> Tensor:
        x, weight, *leaves = ctx.saved_tensors
        spec: ProductSpec = ctx.spec
        tangents: list[Tensor] = []
        if x_t is not None:
            tangents.append(spec.product(x_t, spec.effective(weight, leaves), None))
        seeds = leaves[1::2]
        moving = spec.unflatten([one for pair in zip(leaves_t[0::2], seeds, strict=True) for one in pair])
        if weight_t is not None or moving:
            start = torch.zeros_like(weight) if weight_t is None else weight_t
            tangents.append(spec.product(x, effective_weight(start, moving).to(spec.dtype), None))
        if bias_t is not None:
            tangents.append(spec.product.along_bias(bias_t).expand(ctx.output_shape))
        total = tangents[0]
        for tangent in tangents[1:]:
            total = total + tangent
        return total


# Function.apply asks for it at each call, and python would look the function through each time.
_Adapted.forward.__signature__ = inspect.signature(_Adapted.forward)  # type: ignore[attr-defined]
