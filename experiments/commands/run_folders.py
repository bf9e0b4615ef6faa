"""The folders of runs below a folder of outputs, and the right to change one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.errors import SpecError
from experiments.records.lock import LOCK, Busy, held
from experiments.records.record import RECORD

_MARKS = (RECORD, "attempt.json", "spec.json")
_ASIDE = "previous"
REPRODUCED = "reproduced-record.json"
"""The record of a run made again: a name that readers of a folder do not look for, so that no result counts twice."""


def run_folders(outputs: Path, whole: bool = False) -> list[Path]:
    """Every folder of a run, ended or not, in the order of their names; attempts set aside are none.

    Args:
        outputs: the folder of runs.
        whole: also those of runs made again to be compared, and those in which there is nothing but a lock file.

    Raises:
        SpecError: if there is no such folder.
    """
    if not outputs.is_dir():
        raise SpecError([f"{outputs}: no such folder; accepted: the outputs folder of earlier runs"])
    found = {path.parent for name in (*_MARKS, *((REPRODUCED, LOCK) if whole else ())) for path in outputs.rglob(name)}
    return sorted(folder for folder in found if _ASIDE not in folder.relative_to(outputs).parts)


@contextmanager
def free(folder: Path) -> Iterator[bool]:
    """Within the block no process begins in the folder of a run; False where one is at work in it already.

    A folder without a lock file is not given one.
    """
    if not (folder / LOCK).is_file():
        yield True
        return
    try:
        with held(folder):
            yield True
    except Busy:
        yield False
