"""What every process under measurement does: take its turns, and tell its memory and sizes."""

from __future__ import annotations

import resource
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from experiments.bench.measured import Sizes, Turn
from experiments.bench.setting import Job

if TYPE_CHECKING:
    from peft import PeftConfig

    from baselines import TrainableSelection

_HIGH_WATER = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class Contender(ABC):
    """One method applied to one architecture.

    Args:
        job: which.

    Attributes:
        init_seconds: of making the adapter; None where that is what a step is.
    """

    init_seconds: float | None = None

    def __init__(self, job: Job) -> None:
        self.job = job
        self.device = torch.device(job.device)
        torch.set_num_threads(job.threads)
        torch.manual_seed(0)

    @abstractmethod
    def warm_up(self, count: int) -> None:
        """Do once what is not to be in the first turn's time."""

    @abstractmethod
    def turn(self, count: int) -> Turn:
        """Seconds of each part of `count` steps."""

    @abstractmethod
    def sizes(self) -> Sizes:
        """Counts and bytes after the last turn, and whatever is measured once."""

    def method(self) -> PeftConfig | TrainableSelection:
        """The method's configuration, with the targets unless it chooses by itself what trains.

        Raises:
            MethodError: if the job's is none of a method's.
        """
        from baselines.configuration import method_config

        own = "baselines" in str(self.job.config.get("_target_"))
        return method_config(self.job.config if own else {**self.job.config, "target_modules": self.job.targets})

    def now(self) -> float:
        """Seconds of a clock, once the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def forget_peak(self) -> int:
        """Count peak memory from now on, where the system can, and return the bytes that are held already."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        elif _RESET.exists():
            _RESET.write_text("5")
        return self.peak()

    def peak(self) -> int:
        """Most bytes held since `forget_peak`: of the process, on an accelerator of its tensors."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        lines = _HIGH_WATER.read_text().splitlines() if _HIGH_WATER.exists() else []
        found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
        return found[0] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
