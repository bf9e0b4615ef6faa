"""What the suite knows about a method beside its configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

Measure = Callable[[nn.Module], int]


def nothing(model: nn.Module) -> int:
    """The measure of a method that has none of what is measured."""
    return 0


@dataclass(frozen=True)
class Method:
    """One method of the comparison.

    Attributes:
        name: as in `method=NAME`; its values are in conf/method/NAME.yaml.
        config: class of its configuration.
        paper: where it is defined.
        implementation: the package whose code runs.
        dead_coordinates: counts, in an adapted model, the trainable values on which no weight depends.
        cached_bytes: bytes of state that the method keeps outside of parameters and buffers.
    """

    name: str
    config: type
    paper: str
    implementation: str
    dead_coordinates: Measure = nothing
    cached_bytes: Measure = nothing
