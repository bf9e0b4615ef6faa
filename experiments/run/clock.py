"""Where the seconds of a training go: each second is one phase's, and a resumed training goes on counting."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from experiments.run.devices import synchronize


class Clock(TrainerCallback):
    """Seconds by phase: `train`, and what interrupts it; a second of an inner phase is none of the outer one's.

    Attributes:
        seconds: by phase, of all attempts whose work counts.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._phase: str | None = None
        self._since = 0.0

    def _enter(self, phase: str | None) -> None:
        synchronize()
        now = time.perf_counter()
        if self._phase is not None:
            self.seconds[self._phase] += now - self._since  # type: ignore[assignment]  # typed for whole counts
        self._phase, self._since = phase, now

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """The loop begins."""
        self._enter("train")

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """The loop has ended."""
        self._enter(None)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what is inside as the phase `name`."""
        outer = self._phase
        self._enter(name)
        try:
            yield
        finally:
            self._enter(outer)

    def state_dict(self) -> dict[str, float]:
        """Seconds so far."""
        self._enter(self._phase)
        return dict(self.seconds)

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from the seconds of an earlier attempt."""
        self.seconds = Counter(state)
