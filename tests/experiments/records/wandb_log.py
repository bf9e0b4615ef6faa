"""What wandb wrote for one offline run, read back from its own file.

The file is LevelDB's log (https://github.com/google/leveldb/blob/main/doc/log_format.md) behind 7 bytes of wandb's:
blocks of 32 KiB with pieces of records, each behind a checksum (4 bytes), a length (2) and a type (1); a record is a
message of wandb's own protocol.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK, _HEAD, _LEAD = 2**15, 7, 7
_FULL, _LAST = 1, 4


def records(path: Path) -> Iterator[Record]:
    """Every message of a `run-ID.wandb`."""
    content, place, pieces = path.read_bytes(), _LEAD, b""
    while place + _HEAD <= len(content):
        room = _BLOCK - place % _BLOCK
        if room < _HEAD:
            place += room
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        pieces += content[place + _HEAD : place + _HEAD + length]
        place += _HEAD + length
        if kind in (_FULL, _LAST):
            yield Record.FromString(pieces)
            pieces = b""


def points(path: Path) -> list[dict[str, Any]]:
    """What was logged, in order: names with `_step` among them."""
    found = (record.history for record in records(path) if record.HasField("history"))
    return [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in part.item} for part in found
    ]


def summary(path: Path) -> dict[str, Any]:
    """The last value of everything in the summary."""
    updates = (item for record in records(path) if record.HasField("summary") for item in record.summary.update)
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in updates}


def run(path: Path) -> Any:
    """The message that names the run: `run_id`, `tags`, `run_group`."""
    return next(record.run for record in records(path) if record.HasField("run"))


def ended(path: Path) -> int | None:
    """The exit status; None where the file has no end yet, which W&B's own process may still have to write."""
    return next((record.exit.exit_code for record in records(path) if record.HasField("exit")), None)
