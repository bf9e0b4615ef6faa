"""Methods for tests, as a YAML file of a user's could name them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from baselines import FullFineTuning

PAGE = 4096


@dataclass(frozen=True)
class Forgetful(FullFineTuning):
    """Selects all parameters, and one fewer on the model that a checkpoint is reloaded into."""

    def selects(self, parameter: str) -> bool:
        """All but the word embeddings, once they have been asked for three times: in the check, the run, the reload."""
        _asked[parameter] = _asked.get(parameter, 0) + 1
        return "word_embeddings" not in parameter or _asked[parameter] < 3


_asked: dict[str, int] = {}


@dataclass(frozen=True)
class Greedy(FullFineTuning):
    """Needs memory of its own where a checkpoint is reloaded."""

    def selects(self, parameter: str) -> bool:
        """All; the third time as `Forgetful` counts, beyond the most memory that the process has held so far."""
        _asked[parameter] = _asked.get(parameter, 0) + 1
        if "word_embeddings" in parameter and _asked[parameter] == 3:
            held = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
            bytearray(peak() - held + 2 * BEYOND)
        return True


BEYOND = 100 * 2**20


def peak() -> int:
    """The most memory that this process has held, in bytes."""
    from experiments.records.provenance import peak_memory_bytes

    return peak_memory_bytes()


def reset() -> None:
    """Start counting anew."""
    _asked.clear()
