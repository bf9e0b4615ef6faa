"""W + P theta and P^T g of one layer by the kernels. Importing this module needs triton."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gpart.hashing import GAMMA, signed
from gpart.kernels import programs

if TYPE_CHECKING:
    from gpart.partition.permutations import Permutations

#: Positions, and groups, that one program handles.
_POSITIONS, _GROUPS = 1024, 128
#: Chunks that one program sums; sums of more are added up afterwards. Part of the order of summation.
_CHUNKS = 32
#: No sum in fixed point exceeds two to this power.
_SUM_BITS = 62


def add_hash(weight: Tensor, value: Tensor, start: int, seed: int, size: int = _POSITIONS) -> Tensor:
    """W + P theta for a layer under the scheme `hash`.

    Args:
        weight: float32, bfloat16 or float16, contiguous, any shape.
        value: what each group adds, (d,) float32.
        start: position of the layer's first entry.
        seed: of the partition, from 0 to 2**64 - 1.
        size: positions that one program handles, a power of two; the result does not depend on it.

    Returns:
        shaped and typed like `weight`; summed in float32 and rounded once.
    """
    out, n = torch.empty_like(weight), weight.numel()
    if n:
        with _current(weight):
            programs.add_hash[(-(-n // size),)](
                out, weight, value.contiguous(), start, n, signed(seed + GAMMA), d=value.shape[0], size=size
            )
    return out


def add_blocks(weight: Tensor, value: Tensor, start: int, permutations: Permutations, size: int = _POSITIONS) -> Tensor:
    """The same under the scheme `block`: see `add_hash`. `permutations` lie on the weight's device."""
    out, n, d = torch.empty_like(weight), weight.numel(), value.shape[0]
    sizes = {"d": d, "blocks": permutations.blocks, "length": permutations.length, "size": size}
    if n:
        with _current(weight):
            tables = (permutations.multiplier.contiguous(), permutations.shift.contiguous())
            programs.add_blocks[(-(-n // size),)](out, weight, value.contiguous(), *tables, start, n, **sizes)
    return out


def segment_sum_hash(gradient: Tensor, d: int, start: int, seed: int, size: int = _POSITIONS) -> Tensor:
    """P^T g of a layer under the scheme `hash`: (n,) to (d,) float32, up to the scale of P.

    Where torch is to be deterministic, entries are rounded to multiples of a power of two, at most 2^-60 n max|g|, and
    summed as integers: no sum of n of them overflows, and their order changes nothing. Every coordinate is NaN then
    where an entry is not finite. Elsewhere the order of the float32 sums, and so their last bits, are open.

    Args:
        gradient: float32, bfloat16 or float16.
        d: number of groups.
        start: position of the layer's first entry.
        seed: of the partition, from 0 to 2**64 - 1.
        size: positions that one program handles, a power of two.
    """
    n = gradient.numel()
    fixed = torch.are_deterministic_algorithms_enabled() and n > 0
    unit = _units(gradient) if fixed else None
    total = torch.zeros(d, dtype=torch.int64 if fixed else torch.float32, device=gradient.device)
    if n:
        with _current(gradient):
            programs.segment_sum_hash[(-(-n // size),)](
                total, gradient.contiguous(), unit, start, n, signed(seed + GAMMA), d=d, size=size
            )
    return total if unit is None else (total.double() / unit).float()


def _units(gradient: Tensor) -> Tensor:
    """What an entry is multiplied by before it is rounded to an integer: a power of two, () float64, or NaN."""
    largest = gradient.abs().max().double()
    exponent = torch.frexp(largest).exponent.double()
    bits = _SUM_BITS - (gradient.numel() - 1).bit_length()
    return torch.where(largest.isfinite(), torch.ldexp(torch.ones_like(largest), bits - exponent), torch.nan)


def segment_sum_blocks(gradient: Tensor, d: int, start: int, permutations: Permutations, size: int = _GROUPS) -> Tensor:
    """The same under the scheme `block`, always in one order: see `segment_sum_hash`. `size` is of groups."""
    n = gradient.numel()
    first, last = start // d, -(-(start + n) // d)
    parts = -(-(last - first) // _CHUNKS)
    partial = torch.empty(parts, d, device=gradient.device)
    sizes = {"d": d, "blocks": permutations.blocks, "length": permutations.length, "chunks": _CHUNKS, "size": size}
    if parts:
        with _current(gradient):
            tables = (permutations.inverse.contiguous(), permutations.shift.contiguous())
            grid = (parts * -(-d // size),)
            programs.segment_sum_blocks[grid](partial, gradient.contiguous(), *tables, start, n, first, last, **sizes)
    return partial[0] if parts == 1 else partial.sum(0)


def _current(tensor: Tensor) -> AbstractContextManager[object]:
    """Makes the tensor's device the current one, to which triton launches."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
