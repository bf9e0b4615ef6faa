"""The process of a run: started with the run's lock, ended with its parent, and heard of when it refuses the run.

`python -m experiments.run.process FOLDER PARENT ANSWER` is that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from experiments.errors import SpecError
from experiments.records import record
from experiments.run import ending, signals
from schema.plan import Plan

_ROOT = Path(__file__).resolve().parents[2]
REFUSED = 2
"""Exit status of a run that its own data refused; nothing is recorded then."""

_MOST_ANSWERED = 60_000
"""Bytes of a refusal: what a pipe takes without a reader."""


def carry_out(plan: Plan, folder: Path, lock: int) -> None:
    """Carry out the attempt described in `folder`/spec.json in a process of its own; its record is there afterwards.

    Args:
        plan: of the run.
        folder: the run's.
        lock: descriptor of the folder's lock, which the process holds for as long as it lives.

    Raises:
        SpecError: if the rows or weights themselves are refused, or the record cannot be written.
        Interrupted: if this process is asked to end; what the run's process did until then is recorded.
    """
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8") as answer:
        try:
            arguments = [str(folder), str(os.getpid()), str(writer)]
            child = started(__name__, arguments, pass_fds=(lock, writer))
        finally:
            os.close(writer)
        interruption = _ended(child)
        if child.returncode == REFUSED:
            raise SpecError(json.loads(answer.read()))
    if not (folder / record.RECORD).is_file():
        ending.died(plan, folder, child.returncode, interruption)
    if interruption is not None:
        raise interruption


def started(module: str, arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """A module of this suite as a process, which signals reach once it calls `signals.arm`.

    Args:
        module: by name.
        arguments: of its command line.
        options: of `Popen`.
    """
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    # What the run needs of the hub is in the cache: asked again, the hub could name another commit.
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", module, *arguments]
    with signals.held_back():
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, **options)


def _ended(child: subprocess.Popen[bytes]) -> BaseException | None:
    """Wait for the process of a run; what interrupted the wait has ended it, at the second time by force."""
    try:
        child.wait()
        return None
    except BaseException as error:  # `Interrupted`, or what the signal handler of a launcher raises
        child.send_signal(error.number if isinstance(error, signals.Interrupted) else signals.ENDING[1])
        try:
            child.wait()
        except BaseException:
            child.kill()
            child.wait()
        return error


def main(folder: Path, parent: int, answer: int) -> int:
    """Be the process of a run; its exit status."""
    signals.arm(parent)
    os.set_inheritable(answer, False)
    try:
        # Imported here: a signal that arrives during the seconds that torch takes is recorded as well.
        from experiments.run.execute import execute

        execute(folder)
    except SpecError as refusal:
        os.write(answer, json.dumps(_shortened(refusal.errors)).encode())
        return REFUSED
    except signals.Interrupted as error:
        with signals.ignored():
            if not (folder / record.RECORD).is_file():
                _record(error, folder)
        return error.status
    return 0


def _record(error: signals.Interrupted, folder: Path) -> None:
    result = record.blank(Plan.model_validate_json((folder / "spec.json").read_text(encoding="utf-8")))
    ending.failed(result, error, folder)
    ending.finish(result, folder)


def _shortened(errors: list[str]) -> list[str]:
    while len(json.dumps(errors)) > _MOST_ANSWERED:
        errors = [*errors[: len(errors) // 2], "..."]
    return errors


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
