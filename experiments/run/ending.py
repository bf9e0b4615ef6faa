"""How a run ends: its record, written by its own process, or by its parent where that could not."""

from __future__ import annotations

import signal
import traceback
from pathlib import Path

from experiments.records import outputs, record
from experiments.records.mirror import logger_of, mirror
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
    written = record.written(folder)
    mirror(written, logger_of(written), folder)


def failed(result: Record, error: BaseException, folder: Path) -> None:
    """Say in a record what ended its run."""
    result.outcome = _outcome(error)
    result.error = Error(type=type(error).__name__, message=str(error))
    try:
        text = "".join(traceback.format_exception(error))
        (folder / "traceback.txt").write_text(text, encoding="utf-8")
        result.error.traceback = "traceback.txt"
    except OSError:
        (folder / "traceback.txt").unlink(missing_ok=True)  # a full disk may be what ended it


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
    killer = signal.Signals(-status) if status < 0 else None
    means = f"killed by {killer.name}" if killer else f"ended with exit status {status}"
    result.outcome = "interrupted" if interruption else _by_signal(killer)
    result.error = Error(type="ProcessDied", message=f"the run's process was {means} before it wrote a record")
    finish(result, folder)


def _by_signal(killer: signal.Signals | None) -> Outcome:
    # SIGKILL is what the kernel's out-of-memory killer leaves; nothing tells it from another's kill.
    if killer == signal.SIGKILL:
        return "out_of_memory"
    return "interrupted" if killer in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) else "error"
