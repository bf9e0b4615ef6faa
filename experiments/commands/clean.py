"""`python -m experiments clean OUTPUTS`: what is superfluous, in bytes; `--yes` alone deletes."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.commands.run_folders import free, run_folders
from experiments.records import record
from experiments.records.lock import LOCK
from schema.record import Record

_TEMPORARY = re.compile(r"\..+\.json\.\d+\.\d+")
"""What `record.write_json` writes before it renames."""
_WORKING = ("trainer", "resume")
"""Folders that serve a run while it is not done."""
_OTHERS = (".code", ".hydra", ".submitit", "wandb")
"""Folders whose inside is not ours."""


@dataclass(frozen=True)
class Superfluous:
    """A file or folder that no result needs, and why."""

    path: Path
    why: str

    @property
    def bytes(self) -> int:
        """Of the file, or of all files below the folder."""
        files = [self.path] if self.path.is_file() else self.path.rglob("*")
        return sum(path.lstat().st_size for path in files if not path.is_dir())

    def delete(self) -> None:
        """Remove it."""
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    own = commands.add_parser("clean", help="say what is superfluous below a folder of runs, and how large it is")
    own.add_argument("outputs", type=Path, nargs="?", default=Path("outputs"), help="default: %(default)s")
    own.add_argument("--yes", action="store_true", help="delete it")
    own.set_defaults(execute=_execute)


def _execute(chosen: argparse.Namespace) -> int:
    print(clean(chosen.outputs, chosen.yes))
    return 0


def clean(outputs: Path, delete: bool) -> str:
    """A line for each superfluous file or folder, and a sum.

    Nothing of a run that is going on is named or touched, and nothing of a result: records, predictions, checkpoints.

    Args:
        outputs: the folder of runs.
        delete: remove what is named.

    Raises:
        SpecError: if there is no such folder.
        OSError: if something cannot be removed.
    """
    folders = run_folders(outputs, whole=True)
    found = [part for folder in folders for part in _of_run(folder, delete)] + _of_outputs(outputs, folders, delete)
    lines = [f"{size:>15,}  {part.path.relative_to(outputs)}  ({part.why})" for part, size in found]
    verdict = "deleted" if delete else "superfluous; --yes deletes them"
    total = f"{sum(size for _, size in found):,} bytes in {len(found)} places {verdict}"
    return "\n".join([*lines, total if found else "nothing is superfluous"])


def _measured(parts: Iterable[Superfluous], delete: bool) -> list[tuple[Superfluous, int]]:
    """Each part with its size, which has to be taken before it is deleted."""
    found = [(part, part.bytes) for part in parts]
    for part, _ in found if delete else ():
        part.delete()
    return found


def _of_run(folder: Path, delete: bool) -> list[tuple[Superfluous, int]]:
    with free(folder) as is_free:
        return _measured(_in_run(folder), delete) if is_free else []


def _in_run(folder: Path) -> Iterator[Superfluous]:
    """What is superfluous in the folder of a run that no process is at work in."""
    if (folder / "previous").is_dir():
        yield Superfluous(folder / "previous", "earlier attempts")
    for path in sorted(folder.iterdir()):
        if _TEMPORARY.fullmatch(path.name):
            yield Superfluous(path, "left by a process that was killed")
    if _is_done(folder):
        yield from (Superfluous(folder / name, "the run is done") for name in _WORKING if (folder / name).is_dir())
    if (folder / LOCK).is_file():
        yield Superfluous(folder / LOCK, "a lock that nobody holds")


def _is_done(folder: Path) -> bool:
    result = record.read(folder)
    return isinstance(result, Record) and result.is_done


def _of_outputs(outputs: Path, runs: Sequence[Path], delete: bool) -> list[tuple[Superfluous, int]]:
    """What sweeps leave beside the runs, and folders that hold nothing."""
    sweeps = [Superfluous(outputs / ".hydra", "Hydra's, of sweeps")] if (outputs / ".hydra").is_dir() else []
    return _measured([*sweeps, *(Superfluous(path, "empty") for path in _empty(outputs, set(runs)))], delete)


def _empty(folder: Path, runs: Container[Path]) -> Iterator[Path]:
    """The outermost folders below one that hold nothing but folders; what is in a run's folder is left alone."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_dir() or path in runs or path.name in _OTHERS:
            continue
        if any(not inner.is_dir() for inner in path.rglob("*")):
            yield from _empty(path, runs)
        else:
            yield path
