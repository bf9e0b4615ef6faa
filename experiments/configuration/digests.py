"""The sha256 of files, kept across processes, so that a file of gigabytes is read once and not once per run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from experiments.errors import SpecError

SMALL = 1 << 20
"""Files below so many bytes are read each time: that costs no more than looking their digest up."""

RACY_NS = 2 * 10**9
"""A file changed within so many nanoseconds may be changed again without its times showing it: it is not kept."""


def cache_folder() -> Path:
    """The suite's own cache: $GPART_CACHE, or else ~/.cache/gpart-suite.

    Raises:
        SpecError: if the home that a ~ stands for is not known.
    """
    folder = os.environ.get("GPART_CACHE") or "~/.cache/gpart-suite"
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:
        raise SpecError([f"GPART_CACHE={folder}: {error}; accepted: a folder that can be written to"]) from None


def file_digest(path: Path) -> str:
    """sha256, in hex, of a file's bytes.

    That of a large file is kept in the cache under its path, and stands for as long as its size, inode and times are
    the same. The time of change is among them: unlike that of modification, no program can set it back.

    Raises:
        OSError: if the file cannot be read. A cache that cannot be written costs time and nothing else.
    """
    before = _state(path)
    if before["size"] < SMALL:
        return _sha256(path)
    entry = cache_folder() / "digests" / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()}.json"
    found = _kept(entry, before)
    if found is None:
        found = _sha256(path)
        if _state(path) == before and not _racy(before):
            _keep(entry, before, found)
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _state(path: Path) -> dict[str, int]:
    """All that the file system says of a file that changes with its bytes."""
    stat = path.stat()
    return {
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
        "inode": stat.st_ino,
        "device": stat.st_dev,
    }


def _racy(state: dict[str, int]) -> bool:
    return time.time_ns() - max(state["mtime_ns"], state["ctime_ns"]) < RACY_NS


def _kept(entry: Path, state: dict[str, int]) -> str | None:
    """The digest that an entry holds for a file in this state; None also where the entry is damaged."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        values = json.loads(entry.read_text(encoding="utf-8"))
        digest = values.pop("sha256", None)
        if values == state and isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest):
            return digest
    return None


def _keep(entry: Path, state: dict[str, int], digest: str) -> None:
    """Write an entry whole or not at all, whoever else writes it."""
    with suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{entry.name}.", dir=entry.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({**state, "sha256": digest}, file)
            Path(name).replace(entry)
        except OSError:
            Path(name).unlink()
