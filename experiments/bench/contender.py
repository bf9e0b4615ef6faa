"""What every process under measurement does: take its turns, and tell its memory and sizes."""

from __future__ import annotations

import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

_HIGH_WATER = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class Contender(ABC):
    """One method applied to one architecture.

    Args:
        setting: `architecture`, `targets`, `config` (of the method), `threads`, `device`, and what the kind needs.

    Attributes:
        ready: what there is to say once it is built.
    """

    ready: dict[str, Any]

    def __init__(self, setting: Mapping[str, Any]) -> None:
        self.setting = setting
        self.device = torch.device(setting["device"])
        torch.set_num_threads(setting["threads"])
        torch.manual_seed(0)

    @abstractmethod
    def warm_up(self, count: int) -> dict[str, Any]:
        """Do once what is not to be in the first turn's time."""

    @abstractmethod
    def turn(self, count: int) -> dict[str, list[float]]:
        """Seconds of each part of `count` steps."""

    @abstractmethod
    def sizes(self) -> dict[str, Any]:
        """Counts and bytes after the last turn, and whatever is measured once."""

    def method(self) -> Any:
        """The method's configuration, with the targets unless it chooses by itself what trains."""
        from hydra.utils import instantiate

        config = dict(self.setting["config"])
        if "baselines" not in config["_target_"]:
            config["target_modules"] = self.setting["targets"]
        return instantiate(config, _convert_="all")

    def now(self) -> float:
        """Seconds of a clock, once the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def forget_peak(self) -> dict[str, int]:
        """Count peak memory from now on, where the system can; `held_bytes` are held already."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        elif _RESET.exists():
            _RESET.write_text("5")
        return {"held_bytes": self.peak()["peak_bytes"]}

    def peak(self) -> dict[str, int]:
        """Most bytes held since `forget_peak`: of the process, on an accelerator of its tensors."""
        if self.device.type == "cuda":
            return {"peak_bytes": torch.cuda.max_memory_allocated()}
        lines = _HIGH_WATER.read_text().splitlines() if _HIGH_WATER.exists() else []
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
        return {"peak_bytes": found[0] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
