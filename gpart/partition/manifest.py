"""Telling whether a checkpoint belongs to a partition, and if not, why.

A checkpoint holds its partition twice: as a manifest in adapter_config.json, with the list of layers and the digest in
full, and as a stamp in the file of weights, with hashes in their place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

#: What keys are called where their name alone would not say what to change.
_CALLED = {"weights": "sha256 of the base weights, of which the groups are made,"}


def canonical(value: Any) -> bytes:
    """JSON in the one spelling that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def fingerprint(weights: Sequence[Tensor]) -> str:
    """The first 16 digits of the sha256 of all weights, one after the other, as little-endian float32."""
    digest = hashlib.sha256()
    for weight in weights:
        values = weight.detach().reshape(-1).to("cpu", torch.float32).contiguous()
        digest.update(values.numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()[:16]


def difference(stored: Mapping[str, Any], manifest: Mapping[str, Any], stamp: Mapping[str, Any]) -> str:
    """How a stored manifest or stamp differs from those of a partition, in one line; empty if it is the same."""
    found = [
        f"{_CALLED.get(key, key)} is {stored.get(key)!r} in the checkpoint and {own!r} here"
        for key, own in manifest.items()
        if key not in ("layers", "digest") and stored.get(key) != own
    ]
    layers = stored.get("layers")
    if isinstance(layers, list):
        found += _layer_difference(layers, manifest["layers"])
    elif layers != stamp["layers"]:
        names = [entry.rpartition(" ")[0] for entry in manifest["layers"]]
        found.append(f"the adapted layers (names, shapes or order) differ; here they are {len(names)}: {_few(names)}")
    if not found and stored.get("digest") not in (manifest["digest"], stamp["digest"]):
        found.append("the definition is the same but the groups are not: torch draws other random numbers now")
    return "; ".join(found)


def _layer_difference(stored: list[Any], own: list[str]) -> list[str]:
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


def _few(names: list[Any]) -> str:
    return ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
