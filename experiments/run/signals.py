"""Signals that end runs, as exceptions, so that what has begun is recorded before the process goes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None] | signal.Handlers

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SCHEDULERS = (signal.SIGUSR1, signal.SIGUSR2)
"""What Slurm sends to every process of a job before its time is up: the parent's affair."""

_asked: list[int] = []
"""The signals that the process of a run was sent."""

_LOOK_SECONDS = 0.5
_RECORDING_SECONDS = 6.0
"""How long a run whose parent has ended may take to record that it was interrupted."""


class Interrupted(KeyboardInterrupt):
    """A signal has asked this process to end; exit status 128 + its number."""

    def __init__(self, number: int) -> None:
        self.number = signal.Signals(number)
        super().__init__(self.number.name)

    def __reduce__(self) -> tuple[type[Interrupted], tuple[int]]:
        """Keep the number when the process of a launcher hands the exception to its parent."""
        return type(self), (int(self.number),)

    @property
    def status(self) -> int:
        """The exit status that says so."""
        return 128 + self.number


@contextmanager
def raised() -> Iterator[None]:
    """Within the block every signal that ends runs raises `Interrupted`; other threads than the main one get none."""
    with _handled(_wanted(), _raise):
        yield


@contextmanager
def held_back() -> Iterator[None]:
    """Within the block signals wait, also those to a process that is started in it, until that calls `arm`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*ENDING, *_SCHEDULERS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def arm(parent: int) -> None:
    """Make this the process of a run: a signal raises `Interrupted`, and it ends with its parent.

    Args:
        parent: the process that waits for this one.
    """
    for number in _wanted():
        signal.signal(number, _raise_in_a_run)
    for number in _SCHEDULERS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*ENDING, *_SCHEDULERS})
    threading.Thread(target=_end_with, args=(parent, os.getpid()), name="parent", daemon=True).start()


@contextmanager
def ignored() -> Iterator[None]:
    """Within the block, in which a record is written, nothing but SIGKILL ends this process."""
    with _handled(ENDING, signal.SIG_IGN):
        yield


@contextmanager
def _handled(numbers: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _wanted() -> list[signal.Signals]:
    """The signals that end this process; a hang-up does not where `nohup` says so."""
    return [n for n in ENDING if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]


def _raise(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)


def _raise_in_a_run(number: int, _: FrameType | None) -> None:
    _asked.append(number)
    raise Interrupted(number)


def _end_with(parent: int, own: int) -> None:
    # PR_SET_PDEATHSIG would be Linux's own way, but it fires when the thread that started this process ends.
    while os.getppid() == parent:
        if _asked:
            os.kill(own, _asked[0])  # what a library has swallowed is raised again, until the record is being written
        time.sleep(_LOOK_SECONDS)
    for _ in range(int(_RECORDING_SECONDS / _LOOK_SECONDS)):
        os.kill(own, signal.SIGTERM)
        time.sleep(_LOOK_SECONDS)
    os._exit(128 + signal.SIGTERM)
