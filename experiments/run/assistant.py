"""What the other processes of a launch do for a run: train with its own process, and write nothing.

`python -m experiments.run.assistant FOLDER PARENT` is such a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from experiments.errors import SpecError
from experiments.run import ending, process, processes, signals


def assist(folder: Path) -> None:
    """Help with the attempt described in `folder`/spec.json, in a process of its own; return when that has ended."""
    child = process.started(__name__, [str(folder), str(os.getpid())], stdout=subprocess.DEVNULL)
    if child.wait():
        processes.tell(ending.death(child.returncode))


def main(folder: Path, parent: int) -> int:
    """Be that process; its exit status."""
    signals.arm(parent)
    try:
        from experiments.run import execute

        return execute.assist(folder)
    except SpecError:
        return process.REFUSED  # as the run's own process is
    except signals.Interrupted as error:
        return error.status


if __name__ == "__main__":
    # Without what Python does at its end: the process group may have its last work still before it.
    os._exit(main(Path(sys.argv[1]), int(sys.argv[2])))
