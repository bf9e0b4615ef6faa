"""The records in a folder: whatever lies there, each is read or named with the reason, and none hides another."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from pydantic_core import from_json

from schema.proof import digest
from schema.reading import NewerRecord, read
from schema.record import Record
from schema.strict_json import loads, read_bytes
from schema.text import one_line

RECORD = "record.json"
_ID = re.compile("[0-9a-f]{12}")

T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """A file that cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it and what would be accepted, in one line.
        is_newer: whether a later version of the suite wrote it, so that it is to be left as it is.
    """

    path: Path
    reason: str
    is_newer: bool = False

    def __str__(self) -> str:
        return f"{one_line(self.path)}: {one_line(self.reason)}"


@dataclass(frozen=True)
class Records(Generic[T]):
    """What a folder gave: something of every sound record, sorted by id, and every fault, sorted by path."""

    kept: list[T]
    faults: list[Fault]


class _File(NamedTuple, Generic[T]):
    path: Path
    content: str
    kept: T


def read_file(path: Path) -> Record | Fault:
    """The record in a file, or why there is none."""
    found = _read(path)
    return found if isinstance(found, Fault) else found[0]


def read_folder(folder: Path, keep: Callable[[Path, Record], T]) -> Records[T]:
    """All sound records in a folder and below; copies of one, with the same bytes, count once.

    Two records of one run are a fault of both: nothing says which of them the number belongs to.

    Args:
        folder: is searched; links to folders are not followed.
        keep: what is kept of a record in memory.
    """
    faults: list[Fault] = []
    files: dict[str, list[_File[T]]] = defaultdict(list)
    for path in _paths(folder, faults):
        found = _read(path)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            record, content = found
            files[record.id].append(_File(path, content, keep(path, record)))
    kept = []
    for identity in sorted(files):
        own = files[identity]
        if len({file.content for file in own}) == 1:
            kept.append(own[0].kept)
        else:
            faults += _doubled(identity, own)
    return Records(kept, sorted(faults, key=lambda fault: fault.path))


def _paths(folder: Path, faults: list[Fault]) -> list[Path]:
    """Everything that is called as a record is, sorted; a folder that cannot be looked into is a fault."""

    def closed(error: OSError) -> None:
        faults.append(Fault(Path(error.filename), f"cannot be read ({error.strerror}); accepted: a readable folder"))

    walk = os.walk(folder, onerror=closed)
    return sorted(Path(root, RECORD) for root, folders, names in walk if RECORD in names or RECORD in folders)


def _read(path: Path) -> tuple[Record, str] | Fault:
    """A record with the digest of its file."""
    try:
        data = read_bytes(path)
        record = _proven(data)
    except ValueError as error:
        return Fault(path, str(error), isinstance(error, NewerRecord))
    folder = path.absolute().parent.name
    if _ID.fullmatch(folder) and folder != record.id:
        return Fault(path, f"id={record.id}: in the folder of another run; accepted: {folder}")
    return record, sha256(data).hexdigest()


def _proven(data: bytes) -> Record:
    """A record that is as it was written, as far as it says so itself.

    Raises:
        ValueError: in one line.
    """
    found = digest(data)
    # What is proven needs no strict decoder, which takes four times as long.
    is_proven = f'\n "digest": "{found}",\n'.encode() in data
    record = read(from_json(data, allow_inf_nan=False) if is_proven else loads(data))
    if record.digest is not None and not is_proven:
        raise ValueError(
            f"digest={record.digest}: its other lines have {found}, so that it was edited or damaged; "
            "accepted: a record as it was written"
        )
    return record


def _doubled(identity: str, files: Iterable[_File[T]]) -> list[Fault]:
    paths = [file.path for file in files]
    return [
        Fault(
            path,
            f"another record of run {identity} than {next(other for other in paths if other != path)}; "
            "accepted: one record per run, or copies of it",
        )
        for path in paths
    ]
