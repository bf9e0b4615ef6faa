"""Watches the processes of runs below a folder while they are killed."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

from experiments.run import process

_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 10.0
"""How long the process of a run may outlive its parent."""


class Witness:
    """Context in which two processes for one run, and processes that outlive their parents, are noted.

    Attributes:
        faults: one line each.
    """

    def __init__(self, outputs: Path) -> None:
        self._outputs = outputs
        self._orphans: dict[int, float] = {}
        self._found: dict[str, None] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness", daemon=True)

    @property
    def faults(self) -> list[str]:
        """What was seen so far."""
        return list(self._found)

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        running = runs(self._outputs)
        for folder, count in Counter(run.folder for run in running).items():
            if count > 1:
                self._found[f"{folder}: {count} processes at once"] = None
        for run in running:
            since = self._orphans.setdefault(run.number, time.monotonic()) if run.is_orphan else time.monotonic()
            if time.monotonic() - since > _PATIENCE_SECONDS:
                self._found[f"{run.folder}: process {run.number} outlived its parent by {_PATIENCE_SECONDS} s"] = None


@dataclass(frozen=True)
class RunProcess:
    """The process of a run, while it is alive.

    Attributes:
        number: its own.
        folder: of the run.
        is_orphan: whether its parent has ended.
    """

    number: int
    folder: str
    is_orphan: bool


def runs(outputs: Path) -> list[RunProcess]:
    """The living processes of runs below a folder."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended meanwhile
            command = one.cmdline()
            if process.__name__ in command and one.status() != psutil.STATUS_ZOMBIE:
                folder, parent, _ = command[-3:]
                if folder.startswith(f"{outputs}{os.sep}"):
                    found.append(RunProcess(one.pid, folder, one.ppid() != int(parent)))
    return found
