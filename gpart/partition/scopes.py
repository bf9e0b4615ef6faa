"""Over which layers the groups reach: over all of them, or over those of one transformer block each.

The scope `transformer_block` (the authors' ablation) divides the d coordinates among the model's numbered blocks, each
of which has a partition of its own over the adapted weights inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

SCOPES = ("global", "transformer_block")
#: Names of the lists of blocks, unless the configuration gives others; the authors' choice.
BLOCK_LISTS = ("layers", "layer", "h", "block", "blocks")


class Subpartition(NamedTuple):
    """One block's part of the coordinates and of the layers.

    Attributes:
        first: its first coordinate.
        d: number of its coordinates.
        seed: of its partition.
        layers: numbers of its layers, in canonical order.
    """

    first: int
    d: int
    seed: int
    layers: list[int]


def transformer_block(module: str, lists: Sequence[str] | str | None = None) -> str:
    """The block that a module is in: its name up to the first number behind the name of a list of blocks.

    Args:
        module: its name in the base model, such as "encoder.layer.3.attention.self.query".
        lists: names of lists of blocks; None takes `BLOCK_LISTS`.

    Raises:
        ValueError: if the module is outside of all blocks.
    """
    names = BLOCK_LISTS if lists is None else (lists,) if isinstance(lists, str) else tuple(lists)
    parts = module.split(".")
    for place, (name, number) in enumerate(pairwise(parts)):
        if name in names and number.isdigit():
            return ".".join(parts[: place + 2])
    raise ValueError(
        f"scope: 'transformer_block' has no block for the module {module!r}; accepted are target_modules inside of "
        f"numbered blocks in {', '.join(map(repr, names))}, or layers_pattern with the name of the list of blocks"
    )


def in_order(blocks: Sequence[str]) -> list[str]:
    """The different blocks by name, numbers in them by value."""
    return sorted(
        dict.fromkeys(blocks), key=lambda name: [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in name.split(".")]
    )


def subpartitions(
    scope: str, blocks: Sequence[str] | None, d: int, seed: int, sizes: Sequence[int]
) -> list[Subpartition]:
    """Divide d coordinates evenly over the blocks, the first d mod blocks of which get one more.

    Args:
        scope: one of `SCOPES`; the global one is a single subpartition.
        blocks: of each layer; None if the scope is global.
        d: number of coordinates.
        seed: of the first block; each block's is one more (modulo 2**64) than that of the block before.
        sizes: number of positions of each layer.

    Raises:
        ValueError: if blocks do not go with the scope, or one would get no coordinate, or more than it has weights.
    """
    if scope == "global":
        if blocks is not None:
            raise ValueError(f"blocks: {len(blocks)} names; accepted with scope='global' is None")
        return [Subpartition(0, d, seed, list(range(len(sizes))))]
    if blocks is None or len(blocks) != len(sizes):
        raise ValueError(
            f"blocks: {blocks if blocks is None else f'{len(blocks)} names'}; accepted with scope='transformer_block' "
            f"is the name of the block of each of the {len(sizes)} layers"
        )
    return _divided(blocks, d, seed, sizes)


def _divided(blocks: Sequence[str], d: int, seed: int, sizes: Sequence[int]) -> list[Subpartition]:
    order = in_order(blocks)
    if d < len(order):
        raise ValueError(
            f"d: {d}; accepted with scope='transformer_block' is one or more for each of {len(order)} blocks"
        )
    width, longer = divmod(d, len(order))
    found = []
    for ordinal, block in enumerate(order):
        layers = [index for index, own in enumerate(blocks) if own == block]
        subpartition = Subpartition(
            first=ordinal * width + min(ordinal, longer),
            d=width + (ordinal < longer),
            seed=(seed + ordinal) % (1 << 64),
            layers=layers,
        )
        n = sum(sizes[index] for index in layers)
        if subpartition.d > n:
            raise ValueError(
                f"d: {d} gives {subpartition.d} coordinates to the block {block!r}, which has {n} adapted weights; "
                "accepted with scope='transformer_block' is a d of which no block gets more than it has"
            )
        found.append(subpartition)
    return found
