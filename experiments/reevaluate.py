"""`python -m experiments evaluate RUN`: the checkpoint of a recorded run, loaded anew and scored again.

Proves that what lies on disk is what was scored: predictions are made in a new process from the backbone, the
checkpoint and the data, and compared with the record's.
"""

from __future__ import annotations

import gpart  # noqa: F401  repairs torchvision before transformers is imported

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from experiments import backbones, families, preflight, record, sources
from experiments.errors import SpecError
from experiments.identity import file_digest
from experiments.spec import RunSpec


def evaluate(folder: Path, overrides: Mapping[str, str | None]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Score the test split (with protocol=best_on_dev: the selection split) from the run's checkpoint.

    Args:
        folder: of a run that ended `ok` and kept its checkpoint.
        overrides: `data` and `backbone`: folders where the run's own paths are elsewhere now; None keeps them.

    Returns:
        the record's scores, and the scores of now.

    Raises:
        SpecError: if the run, its checkpoint, its data or its backbone are not there, damaged or changed.
    """
    result = record.read(folder)
    if result is None or result["outcome"] != "ok":
        raise SpecError([f"RUN={folder}: no record of a run that ended ok; accepted: a folder with such a record.json"])
    spec = RunSpec(result["config"])
    for section, path in overrides.items():
        if path is not None:
            spec[section]["path"] = path
    _require_unchanged(folder, result, spec)
    if spec["threads"]:
        torch.set_num_threads(spec["threads"])
    split = "test" if result["metrics"]["test"] else "selection"
    splits = sources.load(spec["task"], spec["data"], spec["seeds"], spec["protocol"]["name"])
    rows = splits.tests["test"] if split == "test" else splits.selection
    family = families.family_of(spec)
    unadapted = [family.load(spec["seeds"]["head"] + copy) for copy in (0, 1)]
    try:
        adapted = preflight.adapted(spec, unadapted[0]).reload(unadapted[1], folder / "checkpoint")
    except ValueError as error:
        raise SpecError([" ".join(str(error).split())]) from error
    scores = family.predict(adapted.model, split, rows, family.examples(rows, split)).metrics
    return result["metrics"][split], scores


def _require_unchanged(folder: Path, result: Mapping[str, Any], spec: RunSpec) -> None:
    errors = [*sources.check(spec["task"], spec["data"]), *backbones.check(spec["backbone"])]
    checkpoint = [item for item in result["artifacts"] if item["path"].startswith("checkpoint/")]
    if not checkpoint:
        errors.append(f"RUN={folder}: its checkpoint was not kept; accepted: a run made with keep_checkpoint=true")
    for item in checkpoint:
        path = folder / item["path"]
        if not path.is_file():
            errors.append(f"RUN={folder}: {item['path']} is missing; accepted: the file of {item['bytes']} bytes")
        elif file_digest(path) != item["sha256"]:
            errors.append(
                f"RUN={folder}: {item['path']} is not the file that was recorded ({path.stat().st_size} bytes of "
                f"{item['bytes']}, another sha256); accepted: that file, or the run again with rerun=true"
            )
    if not errors:
        references = {
            "data": (result["provenance"]["data_reference"], sources.reference(spec["task"], spec["data"])),
            "backbone": (result["provenance"]["backbone_reference"], backbones.reference(spec["backbone"])),
        }
        errors += [
            f"{section}.path={spec[section]['path']}: not the {section} that the run was made with"
            for section, (then, now) in references.items()
            if then != now
        ]
    if errors:
        raise SpecError(errors)
