"""What files hold, in a few characters: the part of a run's identity that local data give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pydantic import JsonValue

from experiments.configuration.digests import file_digest

Reference = Mapping[str, JsonValue]
"""What rows are: equal for equal rows, and JSON."""

_State = tuple[str, Path, int, int, int]
"""A file by its name in the reference, its path, and what changes where its content does: size, mtime and ctime."""


def content(files: Mapping[str, Path]) -> dict[str, JsonValue]:
    """The number of files, and the sha256 over their names and the sha256 of what is in them.

    Args:
        files: by the names that count, which is all that counts of where they lie.

    Raises:
        OSError: if one cannot be read.
    """
    return {"files": len(files), "sha256": _digest(tuple(_state(name, files[name]) for name in sorted(files)))}


def _state(name: str, path: Path) -> _State:
    found = path.stat()
    return name, path, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=256)
def _digest(files: tuple[_State, ...]) -> str:
    pairs = [[name, file_digest(path)] for name, path, *_ in files]
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
