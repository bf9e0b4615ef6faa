"""The folders that runs are recorded in: whether they can be written to, and what earlier attempts left there."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from experiments.errors import SpecError
from experiments.records.lock import LOCK
from experiments.records.record import RECORD, RESUME

_PREVIOUS = "previous"
_PREVIOUS_RECORD = f"previous-{RECORD}"
_UNWRITABLE = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG)
) | {errno.ELOOP, errno.EEXIST, errno.EIO, errno.ENOENT}


@contextmanager
def writing(outputs: str) -> Iterator[None]:
    """Within the block, what the disk refuses is the fault of the key `outputs`.

    Raises:
        SpecError: in one line, for a folder that is none, cannot be written to or is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise SpecError([_refusal(outputs, os.strerror(error.errno))]) from None


def errors(outputs: str) -> list[str]:
    """Why nothing could be recorded below a folder, which need not exist yet; nothing is written to find out."""
    try:
        with writing(outputs):
            nearest = next(path for path in (Path(outputs), *Path(outputs).absolute().parents) if _exists(path))
    except SpecError as refusal:
        return refusal.errors
    if not nearest.is_dir():
        return [_refusal(outputs, f"{nearest} is no folder")]
    return [] if os.access(nearest, os.W_OK | os.X_OK) else [_refusal(outputs, f"{nearest} cannot be written to")]


def _exists(path: Path) -> bool:
    try:
        path.lstat()  # unlike `Path.exists`, raises for a name that is too long and for what lies below a file
    except FileNotFoundError:
        return False
    return True


def _refusal(outputs: str, reason: str) -> str:
    return f"outputs={outputs}: {reason}; accepted: a folder that can be written to, with room in it"


def set_aside(folder: Path) -> Path | None:
    """Move what an earlier attempt left into `previous/N/`, so that nothing recorded is lost or read twice.

    The record is renamed to `previous-record.json` there: readers look for `record.json` alone. It is moved first, so
    that no record ever stands without its files.

    Returns:
        the folder it was moved to; None where there was nothing.
    """
    for temporary in folder.glob(".*.json.*"):
        temporary.unlink()
    entries = sorted(_entries(folder), key=lambda path: path.name != RECORD)
    if not entries:
        return None
    earlier = [int(path.name) for path in (folder / _PREVIOUS).glob("*") if path.name.isdecimal()]
    target = folder / _PREVIOUS / str(1 + max(earlier, default=0))
    target.mkdir(parents=True)
    for path in entries:
        shutil.move(path, target / (_PREVIOUS_RECORD if path.name == RECORD else path.name))
    return target


def restore(folder: Path, earlier: Path | None) -> None:
    """Undo an attempt that was refused: take away what it left and put what was set aside where it was.

    Args:
        folder: of the run.
        earlier: as `set_aside` returned it.
    """
    for path in _entries(folder):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if earlier is None:
        return
    for path in sorted(earlier.iterdir(), key=lambda path: path.name == _PREVIOUS_RECORD):
        shutil.move(path, folder / (RECORD if path.name == _PREVIOUS_RECORD else path.name))
    earlier.rmdir()
    if not any(earlier.parent.iterdir()):
        earlier.parent.rmdir()


def _entries(folder: Path) -> list[Path]:
    """What an attempt has left in a run's folder, but for the state of training, which the next one takes up."""
    return [path for path in folder.iterdir() if path.name not in (_PREVIOUS, LOCK, RESUME)]


def take_away(folder: Path, created: Sequence[Path]) -> None:
    """Take away the folders that a refused run has made, and only those.

    Args:
        folder: the run's.
        created: folders that it has made, the innermost first.
    """
    if folder in created:
        (folder / LOCK).unlink(missing_ok=True)
    for path in created:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
