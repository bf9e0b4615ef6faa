"""Running a run: once only, in a process of its own, with its end recorded even where that process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from experiments.configuration.identity import run_folder
from experiments.configuration.spec import RunSpec
from experiments.errors import RunFailed, SpecError, shorten
from experiments.records import record
from experiments.run import preflight
from experiments.run.preflight import Prepared
from experiments.run.report import plan_report, run_report

_ROOT = Path(__file__).resolve().parents[2]


def run(spec: RunSpec) -> dict[str, Any] | None:
    """Carry out one run unless its record says that it is done; print what came of it.

    Returns:
        the run's record; None where only the plan was asked for.

    Raises:
        SpecError: if the run is refused; nothing has been recorded.
        RunFailed: if it ended otherwise than `ok`; its record says how.
    """
    for notice in spec.notices:
        print(f"note: {notice}")
    prepared = preflight.prepare(spec)
    if spec["plan"]:
        print(plan_report(prepared))
        return None
    folder = run_folder(spec, prepared.identity)
    known = record.read(folder)
    asked, measured = spec["diagnostics"]["measures"], _measured(known)
    lacking = [] if measured is None else [name for name in asked if name not in measured]
    if known is not None and record.is_done(known) and not lacking and not spec["rerun"]:
        result, remark = known, "already recorded, not run again (rerun=true runs it)"
    else:
        # Diagnostics are no part of the identity: measuring more repeats the run, and must not lose what it had.
        asked += [name for name in measured or () if name not in asked]
        if lacking:
            print(f"note: its record lacks diagnostics of {', '.join(lacking)}: run again, the record so far is kept")
        preflight.fetch(spec)
        result, remark = _attempt(prepared, folder), ""
    print(run_report(result, folder, remark))
    if result["outcome"] != "ok":
        raise RunFailed(
            f"{spec['method']['name']} on {spec.task_name}: {_reason(result)}; record: {folder}/record.json"
        )
    return result


def _measured(known: dict[str, Any] | None) -> list[str] | None:
    """The diagnostics in the record of a run that ended ok; None where there is no such record."""
    if known is None or known["outcome"] != "ok":
        return None
    return [name for name, part in known["diagnostics"].items() if isinstance(part, dict) and "status" in part]


def _attempt(prepared: Prepared, folder: Path) -> dict[str, Any]:
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        with lock.acquire(timeout=0):
            record.set_aside(folder)
            record.write_json(folder / "spec.json", _plan(prepared))
            _carry_out(prepared, folder)
    except Timeout:
        raise RunFailed(f"{folder}: another process is carrying out this very run") from None
    except SpecError:
        _undo(folder, created)
        raise
    result = record.read(folder)
    assert result is not None
    return result


def _plan(prepared: Prepared) -> dict[str, Any]:
    return {
        "id": prepared.identity,
        "key": prepared.key,
        "config": prepared.spec.config,
        "data_reference": prepared.data_reference,
        "backbone_reference": prepared.backbone_reference,
    }


def _carry_out(prepared: Prepared, folder: Path) -> None:
    if prepared.spec["isolation"] == "none":
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
    if not (folder / "record.json").is_file():
        _record_death(prepared, folder, status)


def _record_death(prepared: Prepared, folder: Path, status: int) -> None:
    """The record of a child that could not write its own."""
    # Exit by SIGKILL is what the kernel's out-of-memory killer leaves; nothing tells it from another's kill.
    outcomes = {signal.SIGKILL: "out_of_memory", signal.SIGTERM: "interrupted", signal.SIGINT: "interrupted"}
    killer = signal.Signals(-status) if status < 0 else None
    result = record.blank(prepared.identity, prepared.key, prepared.spec.config)
    result["outcome"] = outcomes.get(killer, "error") if killer else "error"
    means = f"killed by {killer.name}" if killer else f"ended with exit status {status}"
    result["error"] = {"type": "ProcessDied", "message": f"the run's process was {means} before it wrote a record"}
    from experiments.run.execute import finish

    finish(result, folder)


def _undo(folder: Path, created: list[Path]) -> None:
    """Take away what a refused run has put on disk, and only that."""
    for name in ("spec.json", "attempt.json", "refused.json", "lock"):
        (folder / name).unlink(missing_ok=True)
    for path in created:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _reason(result: dict[str, Any]) -> str:
    error = result["error"] or {}
    message = " ".join(str(error.get("message", "")).split())
    return f"{result['outcome']} ({error.get('type', 'unknown')}: {shorten(message)})"
