"""One run on several processes, as torchrun and `accelerate launch` start them: the first leads, the others follow.

Every process runs run.py. The first reads the command line, locks, records and prints as it would alone. The others
wait for orders: for each run that it carries out they start a process that trains with its own (`sharing`), and write
nothing. What ends one of them ends all; they tell each other through the key-value store of the launcher.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from experiments.errors import SpecError
from schema.record import Outcome
from schema.run import RunSpec

if TYPE_CHECKING:
    from torch.distributed import Store

ATTEMPT = "GPART_ATTEMPT"
"""The environment variable that numbers the attempts of one launch: what is told belongs to one of them."""

_leading = False
"""Whether this process gives orders; one that a launcher of sweeps starts only has the environment of one that does."""

_BARS = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")
"""What keeps the others' progress bars from the first one's."""

_LOOK_SECONDS = 0.2
_CONNECTED = timedelta(seconds=30)
"""How long it may take to reach the launcher."""
_FAREWELL = timedelta(seconds=10)
"""How long the first process waits for the others to have heard of the end, where it holds the store itself."""


class Failure(BaseModel):
    """What ended a run, in any of its processes."""

    outcome: Outcome
    type: str
    message: str
    traceback: str = ""


def size() -> int:
    """How many processes carry out a run together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_size() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", 0))


def leads() -> bool:
    """Whether this is the one that records the run."""
    return rank() == 0


def errors(spec: RunSpec) -> list[str]:
    """A line for each setting that does not suit so many processes."""
    lines = []
    if spec.recipe.batch_size % size():
        lines.append(
            f"recipe.batch_size={spec.recipe.batch_size}: {size()} processes share each batch; accepted: a multiple of "
            f"{size()}"
        )
    if size() > 1 and spec.isolation == "none":
        lines.append(f"isolation=none: {size()} processes carry out each run; accepted: process")
    if size() > 1 and getattr(spec.task, "generation", None) == "vllm":
        lines.append(f"task.generation=vllm: not after training on {size()} processes; accepted: transformers")
    return lines + _machine_errors()


def _machine_errors() -> list[str]:
    if size() == 1:
        return []
    import torch

    visible = torch.accelerator.device_count()
    if not 0 < visible < local_size():
        return []
    return [
        f"--nproc-per-node={local_size()}: {visible} accelerators are visible; accepted: a process for each at most"
    ]


def led(command: Callable[[], int], assist: Callable[[Path], None]) -> int:
    """Carry out a command in the first process, and in the others the runs that come of it.

    Args:
        command: gives its exit status.
        assist: helps with the run of a folder until that has ended.

    Returns:
        the command's exit status, in every process.
    """
    if size() == 1:
        os.environ.pop("LOCAL_RANK", None)  # accelerate would make a process group of one
        return command()
    # DistributedDataParallel warns of a search for unused parameters, which only some methods need.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    return _lead(command) if leads() else _follow(assist)


@contextmanager
def together(folder: Path) -> Iterator[None]:
    """Within the block the other processes carry out this run as well.

    Args:
        folder: the run's, on a disk that all of them have.

    Raises:
        SpecError: if this is a process that a launcher of sweeps has started, and not the first of torchrun's.
    """
    if size() == 1:
        yield
        return
    if not _leading:
        raise SpecError([f"hydra/launcher: {size()} processes carry out one run after another; accepted: basic"])
    os.environ[ATTEMPT] = _order({"folder": str(folder.resolve())})
    try:
        yield
    finally:
        tell(Failure(outcome="interrupted", type="Over", message="the first process has ended"))


def tell(failure: Failure) -> Failure:
    """Tell all processes of this run what ended it.

    Returns:
        what was told first.
    """
    try:
        return Failure.model_validate_json(store().compare_set(_failure_key(), "", failure.model_dump_json()))
    except RuntimeError:
        return failure  # nobody hears it


def told() -> Failure | None:
    """What has ended this run in one of its processes, as far as is known."""
    if size() == 1:
        return None
    try:
        return Failure.model_validate_json(store().get(_failure_key())) if store().check([_failure_key()]) else None
    except RuntimeError:
        return Failure(outcome="interrupted", type="LauncherDied", message="the launcher of the processes has ended")


@cache
def store() -> Store:
    """What all processes of this launch can write to and read."""
    return connection("gpart", _CONNECTED)


def connection(prefix: str, patience: timedelta = timedelta(minutes=30)) -> Store:
    """Another connection to the store, for what waits in it.

    Args:
        prefix: of its keys.
        patience: how long to wait for the launcher, and for what others write.
    """
    from torch.distributed import PrefixStore, rendezvous

    return PrefixStore(prefix, next(rendezvous("env://", timeout=patience))[0])


def _failure_key() -> str:
    return f"{os.environ[ATTEMPT]}/failure"


def _order(content: dict[str, str | int]) -> str:
    number = str(store().add("orders", 1))
    store().set(f"{number}/order", json.dumps(content))
    return number


def _lead(command: Callable[[], int]) -> int:
    global _leading
    _leading = True
    status = 1
    try:
        status = command()
    finally:
        with suppress(RuntimeError):  # the launcher has ended, or another process
            _order({"status": status})
            store().wait([f"left/{other}" for other in range(1, size())], _FAREWELL)
    return status


def _follow(assist: Callable[[Path], None]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts the first process too, which passes it on
    os.environ.update(dict.fromkeys(_BARS, "1"))
    with suppress(RuntimeError):  # the launcher has ended
        for number in map(str, count(1)):
            order = _received(number)
            if "status" in order:
                store().set(f"left/{rank()}", "")
                return int(order["status"])
            os.environ[ATTEMPT] = number
            assist(Path(order["folder"]))
    return 1


def _received(number: str) -> dict[str, str]:
    while not store().check([f"{number}/order"]):
        time.sleep(_LOOK_SECONDS)
    order: dict[str, str] = json.loads(store().get(f"{number}/order"))
    return order
