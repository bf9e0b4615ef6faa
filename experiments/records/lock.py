"""The lock of a run's folder: who holds it carries the run out.

flock(2) locks an open file, not a process: a child that inherits the descriptor goes on holding the lock when its
parent has been killed, and the last one to end lets go of it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "lock"
_PATIENCE_SECONDS = 0.5
"""How long a lock may be held by someone who only asks whether it is."""


class Busy(Exception):  # noqa: N818  a state of the folder, not a fault
    """Another process carries the run out."""


@contextmanager
def held(folder: Path) -> Iterator[int]:
    """Hold the lock of a run's folder within the block; gives the descriptor for a child to inherit.

    Raises:
        Busy: if another process holds it.
    """
    descriptor = _locked(folder / LOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # no LOCK_UN, which would unlock it for a child that is still alive


def is_held(folder: Path) -> bool:
    """Whether a process carries the run of this folder out at present."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def wait(folder: Path) -> None:
    """Return once no process holds the lock; a signal handler that raises ends the wait."""
    while is_held(folder):
        time.sleep(_PATIENCE_SECONDS)


def _locked(path: Path) -> int:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file(descriptor, path):
                return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise Busy(str(path.parent)) from None
            time.sleep(_PATIENCE_SECONDS / 10)
        os.close(descriptor)


def _is_file(descriptor: int, path: Path) -> bool:
    """Whether the path still names the open file: who held the lock before may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
