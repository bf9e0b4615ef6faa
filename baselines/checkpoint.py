"""Reading the headers of safetensors files: sizes, and whether a file is whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

#: Headers are padded so that the data starts at a multiple of this (safetensors format description).
ALIGNMENT = 8
METADATA = "__metadata__"


def check_whole(file: Path) -> None:
    """Refuse a file of tensors that is missing or damaged.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    if not file.is_file():
        raise ValueError(f"checkpoint: {file} does not exist")
    try:
        with safe_open(file, framework="pt"):
            pass
    except SafetensorError as error:
        raise ValueError(f"checkpoint: {file} is not a whole safetensors file ({error}); save it again") from error


def read_header(file: Path) -> dict[str, Any]:
    """The header: tensor name -> dtype, shape, data_offsets; `__metadata__` -> its own entries."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header: dict[str, Any] = json.loads(stream.read(length))
    return header


def check_fits(file: Path, expected: dict[str, tuple[int, ...]]) -> None:
    """Refuse a file whose tensors are not exactly those of `expected` (name -> shape).

    Raises:
        ValueError: naming the first tensors that differ.
    """
    found = {name: tuple(entry["shape"]) for name, entry in read_header(file).items() if name != METADATA}
    differing = sorted({name for name, _ in expected.items() ^ found.items()})
    if differing:
        name = differing[0]
        raise ValueError(
            f"checkpoint: {file} does not fit this backbone: {len(differing)} tensors differ, the first is {name} "
            f"(file: {found.get(name, 'absent')}, backbone: {expected.get(name, 'absent')})"
        )


def stored_bytes(file: Path, keep: Callable[[str], bool]) -> int:
    """Size in bytes that `file` would have with only those tensors whose name `keep` accepts.

    Computed from the header alone, so that a full model's file is not read.
    """
    header = read_header(file)
    metadata = header.pop(METADATA, None)
    kept: dict[str, Any] = {} if metadata is None else {METADATA: metadata}
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if keep(name):
            start, stop = entry["data_offsets"]
            kept[name] = entry | {"data_offsets": [end, end + stop - start]}
            end += stop - start
    length = len(json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + -(-length // ALIGNMENT) * ALIGNMENT + end
