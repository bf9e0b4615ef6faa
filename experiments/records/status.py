"""`python -m experiments status DIR`: what is done, failed, running or was cut off, from the run folders alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from experiments.records import lock, record
from schema.plan import Attempt
from schema.record import DONE, Record


def status(outputs: Path) -> tuple[str, bool]:
    """A line per run that is not `ok`, and a count of every state.

    Returns:
        the text, and whether every run found is done.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if not outputs.is_dir():
        raise FileNotFoundError(f"{outputs}: no such folder; accepted: the outputs folder of earlier runs")
    states = {folder: _state(folder) for folder in _run_folders(outputs)}
    lines = [f"{state:<17} {folder.relative_to(outputs)}{remark}" for folder, (state, remark) in states.items()]
    lines = [line for line in lines if not line.startswith("ok ")]
    counts = Counter(state for state, _ in states.values())
    lines.append(", ".join(f"{counts[state]} {state}" for state in sorted(counts)) or "no runs")
    return "\n".join(lines), all(state in DONE for state, _ in states.values())


def _run_folders(outputs: Path) -> list[Path]:
    found = {path.parent for name in (record.RECORD, "attempt.json") for path in outputs.rglob(name)}
    return sorted(folder for folder in found if "previous" not in folder.relative_to(outputs).parts)


def _state(folder: Path) -> tuple[str, str]:
    result = record.read(folder)
    if result is not None:
        return result.outcome, _message(result)
    attempt = Attempt.model_validate_json((folder / "attempt.json").read_text(encoding="utf-8"))
    where = f"  (process {attempt.process} on {attempt.host}, last heard of {attempt.heartbeat})"
    return ("running" if lock.is_held(folder) else "cut off"), where


def _message(result: Record) -> str:
    return "  " + " ".join(f"{result.error.type}: {result.error.message}".split())[:160] if result.error else ""
