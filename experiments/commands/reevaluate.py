"""A recorded run scored again: `python -m experiments evaluate|rescore|batching|lm-eval RUN`.

Proves that what lies on disk is what was scored: predictions are made in a new process from the backbone, the
checkpoint and the data, and compared with the record's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import torch

from baselines import Adapted
from experiments import families
from experiments.configuration.identity import file_digest
from experiments.configuration.spec import recorded
from experiments.data import sources
from experiments.data import weights as backbones
from experiments.data.splits import Splits
from experiments.errors import SpecError
from experiments.families.family import Family
from experiments.families.math.family import Math, rescored
from experiments.families.math.generation import Comparison, compare_batched
from experiments.families.math.harness import harness_scores
from experiments.records import record
from experiments.run import preflight
from experiments.run.devices import device
from schema.run import RunSpec


@dataclass(frozen=True)
class Reloaded:
    """A recorded run, made again from what lies on disk.

    Args:
        record: the run's record.
        spec: its configuration, with the folders of now.
        family: of its task.
        adapted: the backbone with the run's checkpoint.
        splits: its rows.
    """

    record: dict[str, Any]
    spec: RunSpec
    family: Family
    adapted: Adapted
    splits: Splits


def reload(folder: Path, overrides: Mapping[str, str | None], task_family: str | None = None) -> Reloaded:
    """Load a run's checkpoint and data.

    Args:
        folder: of a run that ended `ok` and kept its checkpoint.
        overrides: `data` and `backbone`: folders where the run's own paths are elsewhere now; None keeps them.
        task_family: the only family of tasks that is accepted.

    Raises:
        SpecError: if the run is of another family, or the run, its checkpoint, its data or its backbone are not there,
            damaged or changed.
    """
    result = _ended_ok(folder, task_family)
    spec = recorded(result["config"])
    for section, path in overrides.items():
        if path is not None:
            spec[section]["path"] = path
    _require_unchanged(folder, result, spec)
    if spec["threads"]:
        torch.set_num_threads(spec["threads"])
    splits = sources.load(spec["task"], spec["data"], spec["seeds"], spec["protocol"]["name"])
    family = families.family_of(spec)
    unadapted = [family.load(spec["seeds"]["head"] + copy) for copy in (0, 1)]
    try:
        adapted = preflight.adapted(spec, unadapted[0]).reload(unadapted[1], folder / "checkpoint")
    except ValueError as error:
        raise SpecError([" ".join(str(error).split())]) from error
    adapted.model.to(device())
    return Reloaded(result, spec, family, adapted, splits)


def evaluate(run: Reloaded) -> tuple[dict[str, Any], dict[str, Any]]:
    """Score the test split (with protocol=best_on_dev: the selection split) from the run's checkpoint.

    Returns:
        the record's scores, and the scores of now.
    """
    split = "test" if run.record["metrics"]["test"] else "selection"
    rows = run.splits.tests["test"] if split == "test" else run.splits.selection
    scores = run.family.predict(run.adapted, split, rows, run.family.examples(rows, split)).metrics
    return run.record["metrics"][split], scores


def rescore(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Score the stored generations of a run on mathematical reasoning again; needs neither model nor data.

    Args:
        folder: of a run that ended `ok`.

    Returns:
        the record's scores that follow from generations, and those of now, by split and name.

    Raises:
        SpecError: if there is no such run.
    """
    result = _ended_ok(folder, "math")
    tests = {"test": result["metrics"]["test"], **result["metrics"].get("further_tests", {})}
    frame = pd.read_parquet(folder / "predictions.parquet")
    then: dict[str, Any] = {}
    now: dict[str, Any] = {}
    for split, scored in tests.items():
        part = frame[frame["split"] == split]
        scores = rescored(list(part["generation"]), list(part["gold"]), result["config"]["task"], split)
        prefix = "" if split == "test" else f"{split} "
        now |= {f"{prefix}{name}": value for name, value in scores.items()}
        then |= {f"{prefix}{name}": scored[name] for name in scores}
    return then, now


def batching(run: Reloaded, rows: int | None) -> Comparison:
    """Generate for the test split in batches and one prompt at a time.

    Args:
        run: on mathematical reasoning.
        rows: only so many of the first test rows.
    """
    assert isinstance(run.family, Math)
    with run.family.inference(run.adapted.model):
        return compare_batched(
            run.adapted.model,
            run.family.tokenizer,
            run.family.prompts(_first(run.splits.tests["test"], rows)),
            batch_size=run.spec["recipe"]["eval_batch_size"],
            **run.family.generation_limits("test"),
        )


def lm_eval(run: Reloaded, rows: int | None, few_shot: int | None) -> dict[str, float]:
    """The scores of lm-evaluation-harness's gsm8k task on the run's rows; see `harness.harness_scores`."""
    assert isinstance(run.family, Math)
    with run.family.inference(run.adapted.model):
        return harness_scores(
            run.adapted.model,
            run.family.tokenizer,
            run.splits.train,
            _first(run.splits.tests["test"], rows),
            context=run.spec["backbone"]["max_length"],
            batch_size=run.spec["recipe"]["eval_batch_size"],
            few_shot=few_shot,
        )


def _first(rows: datasets.Dataset, count: int | None) -> datasets.Dataset:
    return rows if count is None else rows.select(range(min(count, len(rows))))


def _ended_ok(folder: Path, task_family: str | None) -> dict[str, Any]:
    result = record.read(folder)
    wanted = result is not None and task_family in (None, result["config"]["task"]["family"])
    if result is None or result["outcome"] != "ok" or not wanted:
        kind = f"a run on {task_family}/*" if task_family else "a run"
        raise SpecError(
            [f"RUN={folder}: no record of {kind} that ended ok; accepted: a folder with such a record.json"]
        )
    return result


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
