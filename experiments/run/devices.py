"""Which accelerator a run computes on: one for each process, never several behind DataParallel."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from transformers import TrainingArguments

from experiments.run import processes
from schema.record import Accelerators


def device() -> torch.device:
    """The accelerator of this process (torchrun numbers it in LOCAL_RANK), or the CPU where there is none."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return torch.device(accelerator.type, int(os.environ.get("LOCAL_RANK", 0))) if accelerator else torch.device("cpu")


def accelerators(visible: int) -> Accelerators:
    """How many accelerators are `visible`, and how many of them the processes on this machine use: each one."""
    return Accelerators(visible=visible, used=min(visible, processes.local_size()))


def notice(counts: Accelerators) -> str | None:
    """What to tell who may expect all visible accelerators to be used; None where they are.

    Args:
        counts: as from `accelerators`.
    """
    if counts.visible == counts.used:
        return None
    return (
        f"{counts.visible} accelerators are visible and {counts.used} used, one by each process: torchrun starts "
        "several; CUDA_VISIBLE_DEVICES says which"
    )


@dataclass
class OneDeviceArguments(TrainingArguments):
    """`TrainingArguments` under which `Trainer` never wraps a model in DataParallel.

    With several visible devices that would train on batches of so many times the recipe's size.
    """

    average_tokens_across_devices: bool = False  # `SharingTrainer` weights the losses itself
    ddp_broadcast_buffers: bool | None = False  # they never change, and a method's indices are as many as its weights

    @property
    def n_gpu(self) -> int:
        """Devices of this process: 1, or 0 on the CPU."""
        return min(int(super().n_gpu), 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out; on the CPU torch says it in a RuntimeError's words."""
    words = ("not enough memory", "can't allocate memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(part in str(error) for part in words)


def synchronize() -> None:
    """Wait for an accelerator's queue, so that a clock read next counts what was asked for so far."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
