"""Running a run: once only, in a process of its own, with its end recorded even where that process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from experiments.configuration.identity import run_folder
from experiments.errors import RunFailed, SpecError, shorten
from experiments.records import record
from experiments.run import preflight
from experiments.run.report import plan_report, run_report
from schema.plan import Plan
from schema.record import Error, Outcome, Record
from schema.run import RunSpec

_ROOT = Path(__file__).resolve().parents[2]


def run(spec: RunSpec, notices: Sequence[str] = ()) -> Record | None:
    """Carry out one run unless its record says that it is done; print what came of it.

    Returns:
        the run's record; None where only the plan was asked for.

    Raises:
        SpecError: if the run is refused; nothing has been recorded.
        RunFailed: if it ended otherwise than `ok`; its record says how.
    """
    for notice in notices:
        print(f"note: {notice}")
    prepared = preflight.prepare(spec)
    if spec.plan:
        print(plan_report(spec, preflight.sizes(prepared)))
        return None
    folder = run_folder(spec, prepared.id)
    known = record.read(folder)
    lacking = _lacking(spec, known)
    if known is not None and known.is_done and not lacking and not spec.rerun:
        result, remark = known, "already recorded, not run again (rerun=true runs it)"
    else:
        preflight.sizes(prepared)
        if lacking:
            print(f"note: its record lacks diagnostics of {', '.join(lacking)}: run again, the record so far is kept")
        preflight.fetch(spec)
        result, remark = _attempt(prepared.plan(_measuring(spec, known)), folder, spec.isolation == "process"), ""
    print(run_report(result, folder, remark))
    if result.outcome != "ok":
        raise RunFailed(f"{spec.method.name} on {spec.task_name}: {_reason(result)}; record: {folder}/record.json")
    return result


def _measured(known: Record | None) -> list[str]:
    """The diagnostics in the record of a run that ended ok."""
    return known.diagnostics.asked if known is not None and known.outcome == "ok" else []


def _lacking(spec: RunSpec, known: Record | None) -> list[str]:
    """The diagnostics that are asked for and that the record of a run that ended ok does not have."""
    if known is None or known.outcome != "ok":
        return []
    return [name for name in spec.diagnostics.measures if name not in _measured(known)]


def _measuring(spec: RunSpec, known: Record | None) -> RunSpec:
    """The run with what its record has measured: diagnostics are no part of the identity, and none must be lost."""
    more = [name for name in _measured(known) if name not in spec.diagnostics.measures]
    measures = [*spec.diagnostics.measures, *more]
    return spec.model_copy(update={"diagnostics": spec.diagnostics.model_copy(update={"measures": measures})})


def _attempt(plan: Plan, folder: Path, isolated: bool) -> Record:
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        with lock.acquire(timeout=0):
            record.set_aside(folder)
            record.write(folder / "spec.json", plan)
            _carry_out(plan, folder, isolated)
    except Timeout:
        raise RunFailed(f"{folder}: another process is carrying out this very run") from None
    except SpecError:
        _undo(folder, created)
        raise
    result = record.read(folder)
    assert result is not None
    return result


def _carry_out(plan: Plan, folder: Path, isolated: bool) -> None:
    if not isolated:
        from experiments.run.execute import execute

        execute(folder)
        return
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "experiments.run.execute", str(folder)]
    # What the run needs of the hub is in the cache: asked again, the hub could name another commit.
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as child:
        try:
            status = child.wait()
        except KeyboardInterrupt:
            # The terminal has interrupted the child as well: give it the time to write its record.
            status = child.wait()
    refused = folder / "refused.json"
    if refused.is_file():
        raise SpecError(json.loads(refused.read_text(encoding="utf-8")))
    if not (folder / record.RECORD).is_file():
        _record_death(plan, folder, status)


def _record_death(plan: Plan, folder: Path, status: int) -> None:
    """The record of a child that could not write its own."""
    # Exit by SIGKILL is what the kernel's out-of-memory killer leaves; nothing tells it from another's kill.
    outcomes: dict[signal.Signals, Outcome] = {
        signal.SIGKILL: "out_of_memory",
        signal.SIGTERM: "interrupted",
        signal.SIGINT: "interrupted",
    }
    killer = signal.Signals(-status) if status < 0 else None
    means = f"killed by {killer.name}" if killer else f"ended with exit status {status}"
    result = record.blank(plan)
    result.outcome = outcomes.get(killer, "error") if killer else "error"
    result.error = Error(type="ProcessDied", message=f"the run's process was {means} before it wrote a record")
    from experiments.run.execute import finish

    finish(result, folder)


def _undo(folder: Path, created: list[Path]) -> None:
    """Take away what a refused run has put on disk, and only that."""
    for name in ("spec.json", "attempt.json", "refused.json", "lock"):
        (folder / name).unlink(missing_ok=True)
    for path in created:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _reason(result: Record) -> str:
    error = result.error
    if error is None:
        return result.outcome
    return f"{result.outcome} ({error.type}: {shorten(' '.join(error.message.split()))})"
