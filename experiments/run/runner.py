"""Running a run: once only, in a process of its own, with its end recorded even where that process is killed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from experiments.configuration.identity import run_folder
from experiments.errors import RunFailed, SpecError, shorten
from experiments.records import lock, outputs, record
from experiments.run import preflight, process, processes
from experiments.run.preflight import Prepared
from experiments.run.report import plan_report, run_report
from schema.folder import Fault
from schema.plan import Plan
from schema.record import Record
from schema.run import RunSpec


def run(spec: RunSpec, notices: Sequence[str] = (), wait: bool = True) -> Record | None:
    """Carry out one run unless its record says that it is done; print what came of it.

    Args:
        spec: the run.
        notices: what has to be said before it starts.
        wait: for a process that carries this very run out already, rather than raise `Busy`.

    Returns:
        the run's record; None where only a plan or a check was asked for.

    Raises:
        SpecError: if the run is refused; nothing has been recorded.
        RunFailed: if it ended otherwise than `ok`; its record says how.
        Busy: if another process carries it out, unless `wait`.
        Interrupted: if this process was asked to end; the run is recorded as `interrupted`.
    """
    for notice in notices:
        print(f"note: {notice}")
    prepared = preflight.prepare(spec)
    if spec.plan:
        print(plan_report(spec, preflight.sizes(prepared)))
        return None
    if spec.check:
        _check(prepared)
        return None
    folder = run_folder(spec, prepared.id)
    result, remark = recorded(spec, folder), "already recorded, not run again (rerun=true runs it)"
    if result is None:
        preflight.sizes(prepared)
        if lacking := _lacking(spec, known(folder)):
            print(f"note: its record lacks diagnostics of {', '.join(lacking)}: run again, the record so far is kept")
        preflight.fetch(spec)
        result, remark = _made(spec, prepared, folder, wait)
    print(run_report(result, folder, remark))
    if result.outcome != "ok":
        raise RunFailed(failure(result, folder))
    return result


def _check(prepared: Prepared) -> None:
    """Print what a run is made of, all of it loaded and tried."""
    preflight.sizes(prepared)
    preflight.fetch(prepared.spec)
    from experiments.run.check import check

    print(check(prepared))


def known(folder: Path) -> Record | None:
    """What is recorded of a run; a record that cannot be read is none, and the next attempt sets it aside."""
    found = record.read(folder)
    return found if isinstance(found, Record) else None


def recorded(spec: RunSpec, folder: Path) -> Record | None:
    """The record of a run that need not be made; None where it is to be made."""
    found = known(folder)
    return None if found is None or spec.rerun or not found.is_done or _lacking(spec, found) else found


def failure(result: Record, folder: Path) -> str:
    """A run that did not end ok, in a line."""
    reason: str = result.outcome
    if (error := result.error) is not None:
        reason += f" ({error.type}: {shorten(' '.join(error.message.split()))})"
    return f"{result.config.method.name} on {result.key.task}: {reason}; record: {folder}/record.json"


def _measured(result: Record | None) -> list[str]:
    """The diagnostics in the record of a run that ended ok."""
    return result.diagnostics.asked if result is not None and result.outcome == "ok" else []


def _lacking(spec: RunSpec, result: Record | None) -> list[str]:
    """The diagnostics that are asked for and that the record of a run that ended ok does not have."""
    if result is None or result.outcome != "ok":
        return []
    return [name for name in spec.diagnostics.measures if name not in _measured(result)]


def _measuring(spec: RunSpec, result: Record | None) -> RunSpec:
    """The run with what its record has measured: diagnostics are no part of the identity, and none must be lost."""
    more = [name for name in _measured(result) if name not in spec.diagnostics.measures]
    measures = [*spec.diagnostics.measures, *more]
    return spec.model_copy(update={"diagnostics": spec.diagnostics.model_copy(update={"measures": measures})})


def _made(spec: RunSpec, prepared: Prepared, folder: Path, wait: bool) -> tuple[Record, str]:
    """The record of a run and a remark on it: made here, or by another process while this one waited.

    Raises:
        Busy: if another process carries the run out, unless `wait`.
    """
    while True:
        try:
            return _attempt(spec, prepared, folder)
        except lock.Busy:
            if not wait:
                raise
            print(f"note: another process carries this run out: waiting for it ({folder})", flush=True)
            lock.wait(folder)


def _attempt(spec: RunSpec, prepared: Prepared, folder: Path) -> tuple[Record, str]:
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with outputs.writing(spec.outputs):
            folder.mkdir(parents=True, exist_ok=True)
            with lock.held(folder) as descriptor:
                if (result := recorded(spec, folder)) is not None:
                    return result, "recorded meanwhile by another process"
                _leave_newer(folder)
                plan = prepared.plan(_measuring(spec, known(folder)))
                _attempt_anew(plan, folder, descriptor, spec.isolation == "process")
    except SpecError:
        outputs.take_away(folder, created)
        raise
    return record.written(folder), ""


def _leave_newer(folder: Path) -> None:
    """Say that a record cannot be read, before it is set aside.

    Raises:
        RunFailed: if a later version of the suite wrote it.
    """
    found = record.read(folder)
    if isinstance(found, Fault) and found.is_newer:
        raise RunFailed(f"{found}; it is left as it is")
    if isinstance(found, Fault):
        print(f"note: {found}; it is kept below {folder / 'previous'}, and the run is made again")


def _attempt_anew(plan: Plan, folder: Path, descriptor: int, isolated: bool) -> None:
    if plan.config["rerun"] or not plan.config["resume"]:
        shutil.rmtree(folder / record.RESUME, ignore_errors=True)
    earlier = outputs.set_aside(folder)
    try:
        record.write(folder / "spec.json", plan)
        if isolated:
            with processes.together(folder):
                process.carry_out(plan, folder, descriptor)
        else:
            from experiments.run.execute import execute

            execute(folder)
    except (OSError, SpecError):
        outputs.restore(folder, earlier)
        raise
