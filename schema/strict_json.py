"""Strict JSON (RFC 8259): what has no value in it, two of them, or no end is refused in one line."""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path

_LARGEST = 2**63


def read_json(path: Path) -> object:
    """What a file of strict JSON holds.

    Raises:
        ValueError: in one line, whatever lies at the path.
    """
    return loads(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """The content of a regular file.

    Raises:
        ValueError: in one line, if there is none, or if it cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for ever, a device never end
            raise ValueError("a folder, a pipe or a device; accepted: a file")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}); accepted: a readable file") from None


def loads(data: bytes) -> object:
    """What strict JSON in UTF-8 holds: keys once, numbers of 64 bits, text of Unicode.

    Raises:
        ValueError: in one line.
    """
    try:
        value = _DECODER.decode(data.decode("utf-8"))
        if b"\\u" in data:  # half of a pair of escapes is no text
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeError:
        raise ValueError("not Unicode, or not in UTF-8; accepted: JSON in UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deeply; accepted: JSON of a record's depth") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON, or cut off: {error}; accepted: strict JSON") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice}: stands there twice; accepted: every key once")
    return found


def _integer(text: str) -> int:
    value = int(text) if len(text) < 21 else _LARGEST
    if not -_LARGEST <= value < _LARGEST:
        raise ValueError(f"{text[:20]}...: not strict JSON of 64 bits; accepted: an integer below 2^63")
    return value


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]}: beyond float64; accepted: a finite number, or null")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not strict JSON; accepted: null for a number without a value")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
