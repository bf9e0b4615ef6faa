"""What makes two runs the same run: a hash of everything that can change a result, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from schema.marks import hashed
from schema.run import RunSpec


def canonical_json(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: object) -> str:
    """sha256, in hex, of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def parts(
    config: Mapping[str, object],
    data_reference: Mapping[str, object],
    backbone_reference: Mapping[str, object],
    spec: type[RunSpec] = RunSpec,
) -> dict[str, object]:
    """What is hashed: the settings that change the result, the seeds, and what data and weights are.

    Args:
        config: of the run, nested by section.
        data_reference: what the rows are.
        backbone_reference: what the weights are.
        spec: whose marks count; with a family's own sections where they are known.
    """
    return {
        "trainer_version": 1,
        **hashed(spec, config),
        "data_reference": data_reference,
        "backbone_reference": backbone_reference,
    }


def run_id(hashed_parts: Mapping[str, object]) -> str:
    """The identity of a run: 12 hexadecimal digits."""
    return digest(hashed_parts)[:12]
