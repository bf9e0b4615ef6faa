"""`python -m experiments status DIR`: what is done, failed, running or was cut off, from the run folders alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from experiments.errors import SpecError
from experiments.records import lock
from schema.folder import RECORD, Fault, read_folder
from schema.part import first_error
from schema.plan import Attempt
from schema.record import DONE, Record
from schema.strict_json import read_json
from schema.text import one_line

_ATTEMPT = "attempt.json"
_UNREADABLE = "unreadable"


class Status(NamedTuple):
    """The state of a folder of runs.

    Attributes:
        text: a line per run that is not `ok`, and a count of every state.
        is_done: whether every run found is done.
        faults: files that say nothing of their run.
    """

    text: str
    is_done: bool
    faults: list[Fault]


class _State(NamedTuple):
    state: str
    remark: str = ""


def status(outputs: Path) -> Status:
    """What became of the runs in a folder and below.

    Raises:
        SpecError: if there is no such folder.
    """
    if not outputs.is_dir():
        raise SpecError([f"{outputs}: no such folder; accepted: the outputs folder of earlier runs"])
    states, faults = _states(outputs)
    lines = [
        f"{state:<17} {one_line(folder.relative_to(outputs))}{remark}"
        for folder, (state, remark) in sorted(states.items())
        if state != "ok"
    ]
    counts = Counter(state for state, _ in states.values())
    lines.append(", ".join(f"{counts[state]} {state}" for state in sorted(counts)) or "no runs")
    return Status("\n".join(lines), all(state in DONE for state in counts), faults)


def _states(outputs: Path) -> tuple[dict[Path, _State], list[Fault]]:
    """The state of every run folder."""
    found = read_folder(outputs, lambda path, record: (path.parent, _State(record.outcome, _message(record))))
    states, faults = dict(found.kept), list(found.faults)
    for folder in _unrecorded(outputs):
        try:
            states[folder] = _attempted(folder / _ATTEMPT)
        except ValueError as error:
            faults.append(Fault(folder / _ATTEMPT, str(error)))
    return {**states, **{fault.path.parent: _State(_UNREADABLE) for fault in faults}}, faults


def _unrecorded(outputs: Path) -> list[Path]:
    """The folders of attempts that have not ended."""
    folders = (path.parent for path in outputs.rglob(_ATTEMPT))
    return [
        folder
        for folder in sorted(folders)
        if "previous" not in folder.relative_to(outputs).parts and not (folder / RECORD).exists()
    ]


def _attempted(path: Path) -> _State:
    """Whether an attempt still runs.

    Raises:
        ValueError: in one line, if the file does not say so.
    """
    try:
        attempt = Attempt.model_validate(read_json(path))
    except ValidationError as error:
        raise ValueError(first_error(error)) from None
    where = f"  (process {attempt.process} on {attempt.host}, last heard of {attempt.heartbeat})"
    return _State("running" if lock.is_held(path.parent) else "cut off", one_line(where))


def _message(result: Record) -> str:
    return "  " + one_line(f"{result.error.type}: {result.error.message}", 160) if result.error else ""
