"""What makes two runs the same run: a hash of everything that can change a result, and of nothing else.

`result_version` integers stand for code: they are raised by hand, per method, task and trainer, when results change.
Git's SHA and package versions are provenance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from schema.marks import hashed
from schema.run import RunSpec

VERSION = 2
"""Of what an identity covers. 1: the weight files of a local backbone and the files of local data, names of the hub. 2:
also a local backbone's configuration, tokenizer and processor files and only the weights that are loaded, the class of
each image of a folder, the hub's commits, and `backbone.architecture`."""

_LENGTH = 12


def canonical_json(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: object) -> str:
    """sha256, in hex, of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def run_id(covered: Mapping[str, object]) -> str:
    """The identity of a run: the first 12 hexadecimal digits of the digest of what it covers."""
    return digest(covered)[:_LENGTH]


def covered(
    spec: RunSpec, data_reference: Mapping[str, object], backbone_reference: Mapping[str, object]
) -> dict[str, object]:
    """What a run's identity is the hash of: settings that change the result, seeds, and what data and weights are.

    Args:
        spec: the run.
        data_reference: what the rows are (hub: commit; local: digests of the files; embedded: generator's version).
        backbone_reference: what the weights are (hub: commit; local: digests; embedded: the recipe's hash).
    """
    return {
        "identity_version": VERSION,
        **hashed(type(spec), spec.model_dump(mode="json")),
        "data_reference": data_reference,
        "backbone_reference": backbone_reference,
    }
