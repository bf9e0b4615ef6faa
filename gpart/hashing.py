"""SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), on tensors and on Python's integers."""

from __future__ import annotations

import torch
from torch import Tensor

_GAMMA, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def splitmix64(value: int) -> int:
    """The generator's output at state `value`, from 0 to 2**64 - 1."""
    value = (value + _GAMMA) & _MASK
    value = ((value ^ (value >> 30)) * _MIX_1) & _MASK
    value = ((value ^ (value >> 27)) * _MIX_2) & _MASK
    return value ^ (value >> 31)


def hash_groups(positions: Tensor, d: int, seed: int) -> Tensor:
    """SplitMix64(seed + position) mod d, as unsigned 64-bit integers: the authors' backend `stateless`.

    Args:
        positions: int64, any shape and device.
        d: number of groups.
        seed: from 0 to 2**64 - 1.

    Returns:
        int64 of the same shape, in [0, d).
    """
    state = positions + _signed(seed + _GAMMA)
    state = (state ^ _shift_right(state, 30)) * _signed(_MIX_1)
    state = (state ^ _shift_right(state, 27)) * _signed(_MIX_2)
    state = state ^ _shift_right(state, 31)
    # torch has no unsigned remainder: split off the top bit, whose weight is 2**63.
    low = torch.remainder(state & ((1 << 63) - 1), d)
    return torch.where(state < 0, torch.remainder(low + pow(2, 63, d), d), low)


def _signed(value: int) -> int:
    """The int64 with the low 64 bits of `value`."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Unsigned shift of an int64 tensor."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
