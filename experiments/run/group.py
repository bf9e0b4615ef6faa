"""The process group of a run that several processes carry out: joined to train, and left when one of them fails."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from experiments.run import processes
from experiments.run.processes import Failure

_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 3.0
"""How long a process that fails waits to hear whether it does so because another one has failed."""
_GRACE_SECONDS = 6.0
"""How long a process may go on when another one has failed: one that waits for it on an accelerator waits for ever."""
_LEFT_ALONE = 3
"""Exit status of a process that has been ended so."""


@contextmanager
def joined() -> Iterator[None]:
    """Within the block the processes of this run can compute together; it ends with the first one that fails."""
    if processes.size() == 1:
        yield
        return
    from torch import distributed

    processes.store()  # connected here: the watch would try for long where the launcher has just ended
    done = threading.Event()
    threading.Thread(target=_watch, args=(done,), name="others", daemon=True).start()
    try:
        own = processes.connection(f"group/{os.environ[processes.ATTEMPT]}")
        distributed.init_process_group(store=own, rank=processes.rank(), world_size=processes.size())
        # Not here: its end holds the interpreter and waits for threads, which may need that for their last work.
        atexit.register(distributed.destroy_process_group)
        yield
    finally:
        done.set()


def agreed(failure: Failure) -> Failure:
    """What ended the run: this failure, or that of another process, of which this one is a consequence."""
    if processes.size() == 1:
        return failure
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if first := processes.told():
            return first
        time.sleep(_LOOK_SECONDS)
    where = "" if processes.leads() else f"process {processes.rank()} of {processes.size()}: "
    return processes.tell(failure.model_copy(update={"message": where + failure.message}))


def _watch(done: threading.Event) -> None:
    while not done.wait(_LOOK_SECONDS):
        if processes.told() and not done.wait(_GRACE_SECONDS):
            os._exit(_LEFT_ALONE)
