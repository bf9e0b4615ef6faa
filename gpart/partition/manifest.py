"""Telling whether a checkpoint belongs to a partition, and if not, why.

A checkpoint holds its partition twice: as a manifest in adapter_config.json, with the list of layers and the digest in
full, and as a stamp in the file of weights, with hashes in their place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

#: Digits of the digest that a stamp holds.
STAMP_DIGITS = 16
#: What keys are called where their name alone would not say what to change.
_CALLED = {"weights": "sha256 of the base weights, of which the groups are made,"}


def canonical(value: object) -> bytes:
    """JSON in the one spelling that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def fingerprint(weights: Sequence[Tensor]) -> str:
    """The first 16 digits of the sha256 of all weights, one after the other, as little-endian float32."""
    digest = hashlib.sha256()
    for weight in weights:
        values = weight.detach().reshape(-1).to("cpu", torch.float32).contiguous()
        digest.update(values.numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()[:16]


def layers_stamp(layers: Sequence[str]) -> str:
    """What a stamp holds in place of the list of layers."""
    return hashlib.sha256(canonical(layers)).hexdigest()[:12]


def difference(
    stored: Mapping[str, object], definition: Mapping[str, object], layers: Sequence[str], digest: str
) -> str:
    """How a stored manifest or stamp differs from a partition, in one line; empty if it is the same.

    Args:
        stored: as it was read from a file.
        definition: `Partition.definition`.
        layers: of the partition, as text.
        digest: `Partition.digest`.
    """
    found = [
        f"{_CALLED.get(key, key)} is {stored.get(key)!r} in the checkpoint and {own!r} here"
        for key, own in definition.items()
        if stored.get(key) != own
    ]
    theirs = stored.get("layers")
    if isinstance(theirs, list):
        found += _layer_difference(theirs, list(layers))
    elif theirs != layers_stamp(layers):
        names = [entry.rpartition(" ")[0] for entry in layers]
        found.append(f"the adapted layers (names, shapes or order) differ; here they are {len(names)}: {_few(names)}")
    if not found and stored.get("digest") not in (digest, digest[:STAMP_DIGITS]):
        found.append("the definition is the same but the groups are not: torch draws other random numbers now")
    return "; ".join(found)


def _layer_difference(stored: list[object], own: list[str]) -> list[str]:
    if stored == own:
        return []
    gone = [entry for entry in stored if entry not in own]
    new = [entry for entry in own if entry not in stored]
    if gone or new:
        return [f"adapted are {_few(gone) or 'no more'} in the checkpoint and {_few(new) or 'no more'} here"]
    if len(stored) != len(own):
        return [f"adapted are {len(stored)} layers in the checkpoint and {len(own)} here"]
    place = next(i for i, (then, now) in enumerate(zip(stored, own, strict=True)) if then != now)
    return [f"the order of layers differs: number {place} is {stored[place]} in the checkpoint and {own[place]} here"]


def _few(names: Sequence[object]) -> str:
    return ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
