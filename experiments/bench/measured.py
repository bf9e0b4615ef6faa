"""What is known of a contender once it was measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, JsonValue

PARTS = {
    "passes": "pass_seconds",
    "updates": "update_seconds",
    "attach": "attach_seconds",
    "first_use": "first_use_seconds",
    "one_pass": "one_pass_seconds",
}
"""What is timed of a step, a training step or an attachment, and how its median is called."""

Turn = dict[str, list[float]]
"""Seconds of each step of a turn, by part of the step (some of `PARTS`)."""


class Sizes(BaseModel):
    """Counts and bytes after the last turn, as docs/RECORD.md describes them; what does not apply is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trainable: int | None = None
    theta: int | None = None
    adapted_weights: int | None = None
    state_bytes: int | None = None
    checkpoint_bytes: int | None = None
    merge_seconds: float | None = None


@dataclass
class Measured:
    """One contender on one set of targets.

    Attributes:
        init_seconds: of making the adapter; None where that is what a step is.
        turns: in order.
        held_bytes: before the last turn.
        peak_bytes: most held at once during it.
        sizes: after it.
    """

    init_seconds: float | None = None
    turns: list[Turn] = field(default_factory=list)
    held_bytes: int = 0
    peak_bytes: int = 0
    sizes: Sizes = field(default_factory=Sizes)

    @property
    def parts(self) -> list[str]:
        """What was timed of a step, in the order of `PARTS`."""
        return [part for part in PARTS if all(part in turn for turn in self.turns)]

    @property
    def bytes_per_weight(self) -> float | None:
        """Of state, over the adapted weights; None where either is not known."""
        weights, state = self.sizes.adapted_weights, self.sizes.state_bytes
        return state / weights if weights and state is not None else None

    def as_record(self) -> dict[str, JsonValue]:
        """As it stands in a bench record (docs/RECORD.md)."""
        timed = {part: [turn[part] for turn in self.turns] for part in self.parts}
        once = {} if self.init_seconds is None else {"init_seconds": self.init_seconds}
        memory = {"held_bytes": self.held_bytes, "peak_bytes": self.peak_bytes}
        return {**once, **timed, **memory, **self.sizes.model_dump(exclude_unset=True)}
