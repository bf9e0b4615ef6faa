"""What a sweep has left, held against what another one of the same runs has left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from experiments.configuration.digests import file_digest
from experiments.records import record
from schema.record import Record

_ROOT = Path(__file__).resolve().parents[2]


def differences(expected: Path, found: Path) -> list[str]:
    """A line for all that is lost, doubled, left over or other than expected.

    Args:
        expected: records of an undisturbed sweep.
        found: records of the same runs.
    """
    return [*_of_runs(expected, found), *_damaged(found), *_of_tables(expected, found)]


def _of_runs(expected: Path, found: Path) -> Iterator[str]:
    runs, others = _runs(expected), _runs(found)
    yield from (f"{name}: no record" for name in sorted(runs - others))
    yield from (f"{name}: a record of no run of the sweep" for name in sorted(others - runs))


def _runs(outputs: Path) -> set[str]:
    return {path.parent.relative_to(outputs).as_posix() for path in outputs.rglob(record.RECORD)}


def _damaged(outputs: Path) -> Iterator[str]:
    for path in sorted(outputs.rglob(".*.json.*")):
        yield f"{path}: a temporary file"
    for path in sorted(outputs.rglob(record.RECORD)):
        result = record.read(path.parent)
        if not isinstance(result, Record):
            yield str(result)
            continue
        if result.outcome != "ok":
            yield f"{path}: {result.outcome}"
        for item in result.artifacts:
            file = path.parent / item.path
            if not file.is_file() or file_digest(file) != item.sha256:
                yield f"{file}: not the file of the record"


def _of_tables(expected: Path, found: Path) -> Iterator[str]:
    for outputs in (expected, found):
        command = [sys.executable, "-m", "analysis", "tables", str(outputs), "--out", str(_tables(outputs))]
        if subprocess.run(command, cwd=_ROOT, stdout=subprocess.DEVNULL).returncode:
            yield f"{outputs}: no tables"
    for path in sorted(_tables(expected).rglob("*")):
        other = _tables(found) / path.relative_to(_tables(expected))
        if path.is_file() and (not other.is_file() or other.read_bytes() != path.read_bytes()):
            yield f"{other}: other bytes than {path}"


def _tables(outputs: Path) -> Path:
    return outputs.with_name(f"{outputs.name}-tables")
