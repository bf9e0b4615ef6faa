"""What a partition is defined by: its layers, and the values that are checked whatever the layers."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from gpart.partition import schemes, scopes


class AdaptedLayer(NamedTuple):
    """One module in the canonical flattening: its weight, row-major as stored, then its bias if that takes part.

    Attributes:
        name: of the module in the base model.
        shape: of the weight as stored.
        bias: number of bias entries that take part.
    """

    name: str
    shape: tuple[int, ...]
    bias: int = 0

    @property
    def sizes(self) -> list[int]:
        """Number of positions of the weight, and of the bias if that takes part."""
        return [prod(self.shape), *([self.bias] if self.bias else [])]

    def __str__(self) -> str:
        return f"{self.name} {'x'.join(map(str, self.shape))}" + (f"+{self.bias}" if self.bias else "")


def check_definition(*, d: object, seed: object, scope: object, scheme: str, cache_ids: bool | None) -> None:
    """Refuse values that no partition can have, whatever the layers.

    Raises:
        ValueError: naming the argument, its value and what would be accepted.
    """
    if isinstance(d, bool) or not isinstance(d, int) or not 1 <= d < 1 << 31:
        raise ValueError(f"d: {d!r}; accepted are integers from 1 to the number of adapted weights (below 2**31)")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 64:
        raise ValueError(f"seed: {seed!r}; accepted are integers from 0 to 2**64 - 1")
    if scope not in scopes.SCOPES:
        raise ValueError(f"scope: {scope!r}; accepted are {', '.join(map(repr, scopes.SCOPES))}")
    if cache_ids and schemes.scheme_named(scheme).in_blocks:
        raise ValueError("cache_ids: True; accepted with scheme='block', which has no use for them, are False and None")
    if cache_ids is False and not schemes.scheme_named(scheme).stateless:
        raise ValueError(
            f"cache_ids: False; accepted with scheme={scheme!r}, which is not stateless, are True and None"
        )
