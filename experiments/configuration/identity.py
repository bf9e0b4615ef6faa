"""What makes two runs the same run, and what may stand in one cell of a table.

The identity is a hash of everything that can change a result and of nothing else: paths, loggers, the outputs folder
and the code's Git SHA are provenance. `result_version` integers stand for code: they are raised by hand, per method,
task family and trainer, when results change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.configuration.spec import RunSpec

_BACKBONE_PROVENANCE = ("family", "source", "hub", "revision", "path", "architecture")  # in the reference, or implied
_DATA_KEYS = ("source", "train_rows", "test_rows")
_RECIPE_PROVENANCE = ("name", "sources")
_TASK_PROVENANCE = ("hub",)  # where the rows come from is in the data reference
# Keys of recipe and task at the values that change nothing, so that a key can be added without changing every identity.
_NEUTRAL = {"accumulation": 1, "label_smoothing": 0.0, "precision": "float32", "generation": "transformers"}


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: Any) -> str:
    """sha256, in hex, of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256, in hex, of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_id(spec: RunSpec, data_reference: Mapping[str, Any], backbone_reference: Mapping[str, Any]) -> str:
    """The identity of a run: 12 hexadecimal digits.

    Args:
        spec: the run.
        data_reference: what the rows are (hub: name and revision; local: sha256 of the files; embedded: version).
        backbone_reference: what the weights are (hub: name and revision; local: sha256; embedded: recipe hash).
    """
    config = spec.config
    parts = {
        "method": config["method"],
        "task": _without(config["task"], (*_TASK_PROVENANCE, *_neutral(config["task"]))),
        "data": {key: config["data"][key] for key in _DATA_KEYS},
        "backbone": _without(config["backbone"], _BACKBONE_PROVENANCE),
        "recipe": _without(config["recipe"], (*_RECIPE_PROVENANCE, *_neutral(config["recipe"]))),
        "protocol": config["protocol"],
        "track": config["track"],
        "test": config["test"],
        "seeds": config["seeds"],
        "trainer_version": config["trainer_version"],
        "data_reference": data_reference,
        "backbone_reference": backbone_reference,
    }
    return digest(parts)[:12]


def _without(section: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    dropped = set(keys)
    return {key: value for key, value in section.items() if key not in dropped}


def _neutral(section: Mapping[str, Any]) -> list[str]:
    return [key for key, value in _NEUTRAL.items() if section.get(key) == value]


def cell_key(spec: RunSpec, subset: str) -> dict[str, str]:
    """The key of the table cell that a run belongs to; numbers with different keys never share a column.

    Args:
        spec: the run.
        subset: the name of the rows used, "full" or as `experiments.data.sources` names a subset.
    """
    return {
        "task": spec.task_name,
        "source": spec["data"]["source"],
        "subset": subset,
        "backbone": spec["backbone"]["name"],
        "protocol": spec["protocol"]["name"],
        "track": spec["track"],
    }


def run_folder(spec: RunSpec, identity: str) -> Path:
    """The run's own folder below the outputs, named from what it is and never from time or override strings."""
    task = spec.task_name.replace("/", "-")
    return Path(spec["outputs"]) / task / spec["method"]["name"] / identity
