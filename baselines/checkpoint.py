"""Reading the headers of safetensors files: sizes, and whether a file is whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypedDict

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


class StoredTensor(TypedDict):
    """What a header says of one tensor.

    Attributes:
        dtype: such as `F32`.
        shape: of the tensor.
        data_offsets: where its bytes begin and end, behind the header.
    """

    dtype: str
    shape: list[int]
    data_offsets: list[int]


class Header(NamedTuple):
    """The header of a safetensors file.

    Attributes:
        tensors: by name.
        metadata: texts by key; None where the file has no such entry.
    """

    tensors: dict[str, StoredTensor]
    metadata: dict[str, str] | None

    @property
    def size(self) -> int:
        """Bytes that it takes in a file, its length in front of it included."""
        entries = self.tensors if self.metadata is None else {METADATA: self.metadata, **self.tensors}
        length = len(json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode())
        return 8 + -(-length // ALIGNMENT) * ALIGNMENT


def read_header(file: Path) -> Header:
    """The header of a whole file."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        tensors = json.loads(stream.read(length))
    metadata = tensors.pop(METADATA, None)
    return Header(tensors, metadata)


def check_fits(file: Path, expected: dict[str, tuple[int, ...]]) -> None:
    """Refuse a file whose tensors are not exactly those of `expected` (name -> shape).

    Raises:
        ValueError: naming the first tensors that differ.
    """
    found = {name: tuple(entry["shape"]) for name, entry in read_header(file).tensors.items()}
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
    header, end = read_header(file), 0
    kept: dict[str, StoredTensor] = {}
    for name, entry in sorted(header.tensors.items(), key=lambda item: item[1]["data_offsets"]):
        if keep(name):
            start, stop = entry["data_offsets"]
            kept[name] = {**entry, "data_offsets": [end, end + stop - start]}
            end += stop - start
    return Header(kept, header.metadata).size + end
