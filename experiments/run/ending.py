"""How a run ends: its record, written by its own process, or by its parent where that could not."""

from __future__ import annotations

import shutil
import signal
import traceback
from pathlib import Path

from experiments.records import outputs, record
from experiments.records.mirror import logger_of, mirror
from experiments.run import group, processes
from experiments.run.processes import Failure
from schema.plan import Plan
from schema.record import Error, Outcome, Record


def finish(result: Record, folder: Path) -> None:
    """Write the record, last and atomically, then its W&B mirror.

    Raises:
        SpecError: if there is no room for it, or no right to write it.
    """
    result.provenance.finished = record.now()
    with outputs.writing(str(result.config.model_dump().get("outputs"))):
        result.artifacts = record.artifacts(folder)
        record.write(folder / record.RECORD, result)
    if result.is_done:
        shutil.rmtree(folder / record.RESUME, ignore_errors=True)
    written = record.written(folder)
    mirror(written, logger_of(written), folder)


def failed(result: Record, error: BaseException, folder: Path) -> None:
    """Say in a record what ended its run, in this process or in another one that carries it out."""
    failure = group.agreed(described(error))
    result.outcome = failure.outcome
    result.error = Error(type=failure.type, message=failure.message)
    try:
        (folder / "traceback.txt").write_text(failure.traceback, encoding="utf-8")
        result.error.traceback = "traceback.txt"
    except OSError:
        (folder / "traceback.txt").unlink(missing_ok=True)  # a full disk may be what ended it


def described(error: BaseException) -> Failure:
    """What an exception says."""
    text = "".join(traceback.format_exception(error))
    return Failure(outcome=_outcome(error), type=type(error).__name__, message=str(error), traceback=text)


def _outcome(error: BaseException) -> Outcome:
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return "interrupted"
    from experiments.run import devices

    return "out_of_memory" if devices.is_out_of_memory(error) else "error"


def died(plan: Plan, folder: Path, status: int, interruption: BaseException | None) -> None:
    """Write the record of a process that could not write its own.

    Args:
        plan: of the run.
        folder: the run's.
        status: how the process ended, as `Popen.returncode` has it.
        interruption: what made its parent end it, if anything did.

    Raises:
        SpecError: as `finish`.
    """
    result = record.blank(plan)
    failure = processes.told() or death(status)
    result.outcome = "interrupted" if interruption else failure.outcome
    result.error = Error(type=failure.type, message=failure.message)
    finish(result, folder)


def death(status: int) -> Failure:
    """What the exit status of a process says (`Popen.returncode`) that could not say it itself."""
    killer = signal.Signals(-status) if status < 0 else None
    means = f"killed by {killer.name}" if killer else f"ended with exit status {status}"
    which = "the run's process" if processes.leads() else f"process {processes.rank()} of {processes.size()}"
    message = f"{which} was {means} before it wrote a record"
    return Failure(outcome=_by_signal(killer), type="ProcessDied", message=message)


def _by_signal(killer: signal.Signals | None) -> Outcome:
    # SIGKILL is what the kernel's out-of-memory killer leaves; nothing tells it from another's kill.
    if killer == signal.SIGKILL:
        return "out_of_memory"
    return "interrupted" if killer in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) else "error"
