"""`python -m experiments evaluate|rescore RUN`: a recorded run scored again, from its checkpoint or its generations.

Proves that what lies on disk is what was scored: predictions are made in a new process from the backbone, the
checkpoint and the data, and compared with the record's.
"""

from __future__ import annotations

import gpart  # noqa: F401  repairs torchvision before transformers is imported

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
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


def rescore(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Score the stored generations of a run on mathematical reasoning again; needs neither model nor data.

    Args:
        folder: of a run that ended `ok`.

    Returns:
        the record's scores that follow from generations, and those of now, by split and name.

    Raises:
        SpecError: if there is no such run.
    """
    result = record.read(folder)
    if result is None or result["outcome"] != "ok" or result["config"]["task"]["family"] != "math":
        raise SpecError(
            [f"RUN={folder}: no record of a run on math/* that ended ok; accepted: a folder with such a record.json"]
        )
    from experiments.families.math.family import rescored

    tests = {"test": result["metrics"]["test"], **result["metrics"].get("further_tests", {})}
    frame = pd.read_parquet(folder / "predictions.parquet")
    then: dict[str, Any] = {}
    now: dict[str, Any] = {}
    for split, recorded in tests.items():
        part = frame[frame["split"] == split]
        scores = rescored(list(part["generation"]), list(part["gold"]), result["config"]["task"], split)
        prefix = "" if split == "test" else f"{split} "
        now |= {f"{prefix}{name}": value for name, value in scores.items()}
        then |= {f"{prefix}{name}": recorded[name] for name in scores}
    return then, now


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
