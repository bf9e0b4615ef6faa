"""What adapters add to a tensor of a layer, and the tensor with all of it: W + P theta."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gpart.compute.dropout import mask
from gpart.numerics import accumulation_dtype
from gpart.partition.groups import Groups


@dataclass(frozen=True)
class Delta:
    """One adapter's change of a tensor of a layer, not yet written out.

    Attributes:
        value: what each group adds, (d,), in the accumulation type.
        groups: of the tensor's entries.
        mask_seed: of dropout on the entries of the change, see `gpart.compute.dropout`; None where none is dropped.
        dropout: probability that an entry is dropped.
    """

    value: Tensor
    groups: Groups
    mask_seed: Tensor | None = None
    dropout: float = 0.0

    def dense(self, shape: torch.Size) -> Tensor:
        """The change of a tensor of this shape, of that shape."""
        return self.dropped(self.groups.gather(self.value).view(shape))

    def dropped(self, change: Tensor) -> Tensor:
        """The entries of a change, or of a gradient to it, that dropout leaves, and zeros: of the same shape."""
        if self.mask_seed is None:
            return change
        return change * mask(self.mask_seed, self.dropout, change)


def effective_weight(weight: Tensor, deltas: list[Delta]) -> Tensor:
    """The weight plus every change, summed in order in the accumulation type and rounded once to the weight's type.

    Args:
        weight: any shape, floating.
        deltas: changes of a tensor of that shape.

    Returns:
        shaped and typed like `weight`.
    """
    if len(deltas) == 1 and deltas[0].mask_seed is None:
        return deltas[0].groups.added(weight, deltas[0].value)
    total = weight.to(accumulation_dtype(weight.dtype))
    for delta in deltas:
        total = total + delta.dense(weight.shape)
    return total.to(weight.dtype)
