"""A function run by two processes that form one group."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

PROCESSES = 2


def _worker(rank: int, folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=PROCESSES, timeout=timedelta(seconds=60)
    )
    torch.save(function(rank, *arguments), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def in_two_processes(folder: Path, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `function(rank, *arguments)` returns in each; `folder` is empty, for the meeting and the results."""
    torch.multiprocessing.spawn(_worker, args=(str(folder), function, arguments), nprocs=PROCESSES)  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(PROCESSES)]
