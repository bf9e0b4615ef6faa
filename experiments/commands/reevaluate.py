"""A recorded run scored again: `python -m experiments evaluate|rescore|batching|lm-eval RUN`.

Proves that what lies on disk is what was scored: predictions are made in a new process from the backbone, the
checkpoint and the data, and compared with the record's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import datasets
import pandas as pd
import torch

from baselines import Adapted
from experiments.configuration.digests import file_digest
from experiments.configuration.recorded import recorded
from experiments.data import sources
from experiments.data.splits import Splits
from experiments.errors import SpecError
from experiments.families import spec_of
from experiments.families.family import Family
from experiments.families.math.family import Math, rescored
from experiments.families.math.generation import Comparison, compare_batched
from experiments.families.math.harness import harness_scores
from experiments.families.math.section import MathTask
from experiments.records import record
from experiments.run import preflight
from experiments.run.devices import device
from experiments.run.preflight import Prepared
from schema.identity import VERSION
from schema.raising import raised
from schema.record import Record, Scores
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

    record: Record
    spec: RunSpec
    family: Family
    adapted: Adapted
    splits: Splits


def reload(folder: Path, overrides: Mapping[str, str | None], task_family: str | None = None) -> Reloaded:
    """Load a run's checkpoint and data.

    Args:
        folder: of a run that was scored and kept its checkpoint.
        overrides: `data` and `backbone`: folders where the run's own paths are elsewhere now; None keeps them.
        task_family: the only family of tasks that is accepted.

    Raises:
        SpecError: if the run is of another family, or the run, its checkpoint, its data or its backbone are not there,
            damaged or changed.
    """
    result = _scored(folder, task_family)
    if result.identity.version != VERSION:
        raise SpecError([f"RUN={folder}: a record of identity {result.identity.version}; accepted: {VERSION}"])
    spec = _moved(recorded(result), overrides)
    _require_artifacts(folder, result, "checkpoint/", "a run made with keep_checkpoint=true")
    prepared = preflight.prepare(spec, result.identity.hashed)
    _require_unchanged(result, prepared)
    if spec.threads:
        torch.set_num_threads(spec.threads)
    splits, family = sources.load(prepared.source, spec), prepared.family
    unadapted = [family.load(spec.seeds.head + copy) for copy in (0, 1)]
    try:
        adapted = preflight.adapted(spec, unadapted[0]).reload(unadapted[1], folder / "checkpoint")
    except ValueError as error:
        raise SpecError([" ".join(str(error).split())]) from error
    adapted.model.to(device())
    return Reloaded(result, spec, family, adapted, splits)


def evaluate(run: Reloaded) -> tuple[Scores, Scores]:
    """Score the test split (with protocol=best_on_dev: the selection split) from the run's checkpoint.

    Returns:
        the record's scores, and the scores of now.
    """
    test = run.record.metrics.test
    split, rows = ("test", run.splits.tests["test"]) if test else ("selection", run.splits.selection)
    scores = run.family.predict(run.adapted, split, rows, run.family.examples(rows, split)).metrics
    return test or run.record.metrics.selection or {}, scores


def rescore(folder: Path) -> tuple[Scores, Scores]:
    """Score the stored generations of a run on mathematical reasoning again; needs neither model nor data.

    Args:
        folder: of a run that was scored.

    Returns:
        the record's scores that follow from generations, and those of now, by split and name.

    Raises:
        SpecError: if there is no such run, or its generations are not those that were recorded.
    """
    result = _scored(folder, "math")
    _require_artifacts(folder, result, "predictions.parquet", "a run with its predictions")
    task, frame = _math_task(result), pd.read_parquet(folder / "predictions.parquet")
    then: Scores = {}
    now: Scores = {}
    for split, scored in {"test": result.metrics.test or {}, **result.metrics.further_tests}.items():
        part = frame[frame["split"] == split]
        try:
            scores = rescored(list(part["generation"]), list(part["gold"]), task, split)
        except ValueError as error:
            raise SpecError([f"RUN={folder}: predictions.parquet: split {split}: {error}"]) from None
        scores = {name: value for name, value in scores.items() if name in scored}
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
            batch_size=run.spec.recipe.eval_batch_size,
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
            context=run.family.backbone.max_length,
            batch_size=run.spec.recipe.eval_batch_size,
            few_shot=few_shot,
        )


def _first(rows: datasets.Dataset, count: int | None) -> datasets.Dataset:
    return rows if count is None else rows.select(range(min(count, len(rows))))


def _scored(folder: Path, task_family: str | None) -> Record:
    result = record.written(folder)
    if result.metrics.selection is None or task_family not in (None, result.config.task.family):
        kind = f"a run on {task_family}/*" if task_family else "a run"
        raise SpecError(
            [f"RUN={folder}: no record of {kind} that was scored; accepted: a folder with such a record.json"]
        )
    return result


def _math_task(result: Record) -> MathTask:
    """The task of a run on mathematical reasoning, of any schema."""
    config = raised(spec_of("math"), result.config.model_dump(mode="json"))
    return MathTask.model_validate(config["task"])


def _moved(spec: RunSpec, overrides: Mapping[str, str | None]) -> RunSpec:
    """The run with its data and backbone in the folders that are given."""
    moved = {
        name: getattr(spec, name).model_copy(update={"path": path})
        for name, path in overrides.items()
        if path is not None
    }
    return spec.model_copy(update=moved)


def _require_artifacts(folder: Path, result: Record, prefix: str, accepted: str) -> None:
    """Refuse files of a run that are not those that were recorded.

    Args:
        folder: the run's.
        result: its record.
        prefix: of the paths of the files.
        accepted: what has to be given where nothing of this path was recorded.
    """
    recorded = [item for item in result.artifacts if item.path.startswith(prefix)]
    errors = [] if recorded else [f"RUN={folder}: no {prefix.rstrip('/')} was kept; accepted: {accepted}"]
    for item in recorded:
        path = folder / item.path
        if not path.is_file():
            errors.append(f"RUN={folder}: {item.path} is missing; accepted: the file of {item.bytes} bytes")
        elif file_digest(path) != item.sha256:
            errors.append(
                f"RUN={folder}: {item.path} is not the file that was recorded ({path.stat().st_size} bytes of "
                f"{item.bytes}, another sha256); accepted: that file, or the run again with rerun=true"
            )
    if errors:
        raise SpecError(errors)


def _require_unchanged(result: Record, prepared: Prepared) -> None:
    changed = [
        (section, path)
        for section, path in (("data", prepared.spec.data.path), ("backbone", prepared.spec.backbone.path))
        if prepared.identity.hashed[f"{section}_reference"] != result.identity.hashed[f"{section}_reference"]
    ]
    if changed:
        raise SpecError(
            [
                f"{section}.path={path}: not the {section} that the run was made with; accepted: that {section}, or "
                f"--{section} FOLDER where it has moved"
                for section, path in changed
            ]
        )
