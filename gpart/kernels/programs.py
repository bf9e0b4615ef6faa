"""The kernels that `gpart.kernels.launch` launches. Importing this module needs triton.

Positions are int64 throughout: a layer may begin anywhere. d, the number of blocks in a chunk and their length are
compiled in, so that divisions become multiplications. Of triton.language only what is built in is used: what is written
in triton itself is compiled or interpreted as was asked when triton was first imported, which may be long before.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language import constexpr, tensor

from gpart.hashing import MIX_1, MIX_2

_FIRST_MIX, _SECOND_MIX = tl.constexpr(MIX_1), tl.constexpr(MIX_2)


@triton.jit
def _hash_group(position: tensor, state: tensor, d: constexpr) -> tensor:
    """`gpart.hashing.hash_groups`."""
    x = position.to(tl.uint64) + state.to(tl.uint64)
    x = (x ^ (x >> 30)) * _FIRST_MIX
    x = (x ^ (x >> 27)) * _SECOND_MIX
    x = x ^ (x >> 31)
    return (x % d).to(tl.int64)


@triton.jit
def _block_group(
    position: tensor,
    multiplier: tensor,
    shift: tensor,
    inside: tensor,
    d: constexpr,
    blocks: constexpr,
    length: constexpr,
) -> tensor:
    """`gpart.partition.permutations.groups_at`, from the tables of `gpart.partition.permutations.Permutations`."""
    chunk = position // d
    place = position - chunk * d
    a = tl.load(multiplier + chunk, mask=inside, other=0)
    s = tl.load(shift + chunk, mask=inside, other=0)
    moved = (a * (place // length) + s) % blocks * length + place % length
    return tl.where(place < blocks * length, moved, place)


@triton.jit
def _add(out: tensor, weight: tensor, value: tensor, offset: tensor, group: tensor, inside: tensor) -> None:
    """Sum in float32, round once, to the nearest and to even between two: spelt out, as the interpreter cuts off."""
    total = tl.load(weight + offset, mask=inside, other=0).to(tl.float32) + tl.load(value + group, mask=inside, other=0)
    if out.dtype.element_ty == tl.bfloat16:
        bits = total.to(tl.uint32, bitcast=True)
        bits = tl.where(total == total, bits + 0x7FFF + ((bits >> 16) & 1), 0x7FC00000)
        tl.store(out + offset, (bits >> 16).to(tl.uint16).to(tl.bfloat16, bitcast=True), mask=inside)
    else:
        tl.store(out + offset, total.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["start", "n", "state"])
def add_hash(
    out: tensor, weight: tensor, value: tensor, start: tensor, n: tensor, state: tensor, d: constexpr, size: constexpr
) -> None:
    """`size` positions under the scheme `hash`."""
    offset = tl.program_id(0).to(tl.int64) * size + tl.arange(0, size)
    inside = offset < n
    _add(out, weight, value, offset, _hash_group(offset + start, state, d), inside)


@triton.jit(do_not_specialize=["start", "n"])
def add_blocks(
    out: tensor,
    weight: tensor,
    value: tensor,
    multiplier: tensor,
    shift: tensor,
    start: tensor,
    n: tensor,
    d: constexpr,
    blocks: constexpr,
    length: constexpr,
    size: constexpr,
) -> None:
    """`size` positions under the scheme `block`."""
    offset = tl.program_id(0).to(tl.int64) * size + tl.arange(0, size)
    inside = offset < n
    group = _block_group(offset + start, multiplier, shift, inside, d, blocks, length)
    _add(out, weight, value, offset, group, inside)


@triton.jit(do_not_specialize=["start", "n", "state"])
def segment_sum_hash(
    total: tensor, grad: tensor, unit: tensor, start: tensor, n: tensor, state: tensor, d: constexpr, size: constexpr
) -> None:
    """Atomic sums: of integers where `unit` points to the multiplier that makes them, else of float32."""
    offset = tl.program_id(0).to(tl.int64) * size + tl.arange(0, size)
    inside = offset < n
    group = _hash_group(offset + start, state, d)
    entry = tl.load(grad + offset, mask=inside, other=0)
    if unit is None:
        tl.atomic_add(total + group, entry.to(tl.float32), mask=inside, sem="relaxed")
    else:
        rounded = tl.floor(entry.to(tl.float64) * tl.load(unit) + 0.5).to(tl.int64)
        tl.atomic_add(total + group, rounded, mask=inside, sem="relaxed")


@triton.jit(do_not_specialize=["start", "n", "first", "last"])
def segment_sum_blocks(
    partial: tensor,
    grad: tensor,
    inverse: tensor,
    shift: tensor,
    start: tensor,
    n: tensor,
    first: tensor,
    last: tensor,
    d: constexpr,
    blocks: constexpr,
    length: constexpr,
    chunks: constexpr,
    size: constexpr,
) -> None:
    """`chunks` chunks for `size` groups, in order: no two programs write to one place."""
    tiles = (d + size - 1) // size
    program = tl.program_id(0).to(tl.int64)
    part = program // tiles
    group = program % tiles * size + tl.arange(0, size)
    block = group // length
    total = tl.full((size,), 0.0, tl.float32)
    for step in range(chunks):
        chunk = first + part * chunks + step
        a = tl.load(inverse + chunk, mask=chunk < last, other=0)
        s = tl.load(shift + chunk, mask=chunk < last, other=0)
        source = a * (block + blocks - s) % blocks * length + group % length
        offset = chunk * d + tl.where(block < blocks, source, group) - start
        inside = (group < d) & (offset >= 0) & (offset < n)
        total += tl.load(grad + offset, mask=inside, other=0).to(tl.float32)
    tl.store(partial + part * d + group, total, mask=group < d)
