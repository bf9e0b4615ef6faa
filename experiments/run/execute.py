"""One run, from prepared spec to record: `python -m experiments.run.execute FOLDER`, the child process of a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch

from baselines import Adapted
from experiments import diagnostics, embedded, families
from experiments.configuration.spec import recorded
from experiments.data import sources
from experiments.diagnostics.snapshots import Snapshots
from experiments.errors import SpecError
from experiments.families.family import Examples, Family, save
from experiments.records import provenance, record
from experiments.records.mirror import mirror
from experiments.run import devices, preflight, roundtrip, training
from schema.run import RunSpec

DETERMINISM = "warn"
"""Deterministic kernels where torch has them, a warning where it has none."""

REFUSED = 2
"""Exit status of a run that its own data refused; nothing is recorded then."""


def execute(folder: Path) -> dict[str, Any]:
    """Carry out the attempt described in `folder`/spec.json and write `folder`/record.json, whatever happens.

    Raises:
        SpecError: if the rows themselves are refused; nothing is recorded.
    """
    plan = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    spec = recorded(plan["config"])
    result = record.blank(plan["id"], plan["key"], plan["config"])
    result["provenance"] = {
        "started": record.now(),
        "data_reference": plan["data_reference"],
        "backbone_reference": plan["backbone_reference"],
        "accelerators": devices.accelerators(torch.accelerator.device_count()),
        **provenance.collect(DETERMINISM),
    }
    if notice := devices.notice(result["provenance"]["accelerators"]):
        print(f"note: {notice}")
    with record.Attempt(folder, plan["id"], plan["key"]):
        try:
            _measure(spec, folder, result)
        except SpecError:
            raise
        except BaseException as error:
            result["outcome"], result["error"] = _outcome(error), _described(error, folder)
        finish(result, folder)
    return result


def finish(result: dict[str, Any], folder: Path) -> None:
    """Write the record, last and atomically, then its W&B mirror."""
    result["provenance"]["finished"] = record.now()
    result["artifacts"] = record.artifacts(folder)
    record.write_json(folder / "record.json", result)
    mirror(json.loads((folder / "record.json").read_text(encoding="utf-8")), folder)


def _measure(spec: RunSpec, folder: Path, result: dict[str, Any]) -> None:
    if spec["threads"]:
        torch.set_num_threads(spec["threads"])
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    if spec["backbone"]["source"] == "embedded":
        # Once for all runs, so it is no part of the time of any.
        started = time.perf_counter()
        embedded.folder(spec["backbone"]["name"])
        result["cost"]["pretraining_seconds"] = time.perf_counter() - started
    subject = _load(spec, result)
    snapshots = Snapshots(subject.adapted, spec["diagnostics"]["snapshots"])
    if subject.adapted.trainable and not _train(spec, subject, snapshots, folder, result):
        return
    _score(spec, subject, folder, result)
    # What follows proves and explains the result; its memory is no part of the run's cost.
    result["cost"]["peak_memory_bytes"] = provenance.peak_memory_bytes()
    _save(spec, subject, snapshots, folder, result)


@dataclass(frozen=True)
class _Subject:
    """What a run trains and scores.

    Attributes:
        family: of the task.
        rows: by split: `train`, `selection`, tests.
        examples: what the model is given of them, by split.
        adapted: the model, on its device.
    """

    family: Family
    rows: dict[str, datasets.Dataset]
    examples: dict[str, Examples]
    adapted: Adapted


def _load(spec: RunSpec, result: dict[str, Any]) -> _Subject:
    started, family = time.perf_counter(), families.family_of(spec)
    splits = sources.load(spec["task"], spec["data"], spec["seeds"], spec["protocol"]["name"])
    result["provenance"]["data_fingerprint"] = splits.fingerprints()
    rows = {"train": splits.train, "selection": splits.selection, **(splits.tests if spec["test"] else {})}
    examples = {name: family.examples(part, name) for name, part in rows.items()}
    adapted = preflight.adapted(spec, family.load(spec["seeds"]["head"]))
    result["sizes"] = {**preflight.model_sizes(adapted), "runtime_state_bytes": adapted.runtime_state_bytes}
    adapted.model.to(devices.device())
    result["cost"]["load_seconds"] = time.perf_counter() - started
    return _Subject(family, rows, examples, adapted)


def _train(spec: RunSpec, subject: _Subject, snapshots: Snapshots, folder: Path, result: dict[str, Any]) -> bool:
    """Whether training left an epoch to go on with; the model is at that epoch."""
    adapted, family, examples = subject.adapted, subject.family, subject.examples
    run = training.trainer(spec, adapted, family, examples["train"], examples["selection"], folder)
    if spec["diagnostics"]["measures"]:
        run.add_callback(snapshots)
    history = training.train(run, adapted, "loss" if family.selects_by_loss else spec["task"]["primary_metric"])
    result["history"] = history.as_record()
    result["cost"] |= _training_cost(history, family.trainer_options().counts_tokens)
    if history.diverged:
        result["outcome"], result["error"] = "diverged", {"type": "Diverged", "message": history.diverged}
    return not history.diverged


def _score(spec: RunSpec, subject: _Subject, folder: Path, result: dict[str, Any]) -> None:
    """Predict and score every split but the training rows."""
    started = time.perf_counter()
    predictions = {
        name: subject.family.predict(subject.adapted, name, subject.rows[name], examples)
        for name, examples in subject.examples.items()
        if name != "train"
    }
    result["cost"]["eval_seconds"] = time.perf_counter() - started
    save(list(predictions.values()), folder / "predictions.parquet")
    result["metrics"] = _scores(spec["task"], {name: part.metrics for name, part in predictions.items()})
    result["diagnostics"] |= subject.family.notes()


def _save(spec: RunSpec, subject: _Subject, snapshots: Snapshots, folder: Path, result: dict[str, Any]) -> None:
    """The checkpoint, diagnostics and the round trip, which comes last as it may leave a model that is half merged."""
    adapted, family, examples, checkpoint = subject.adapted, subject.family, subject.examples, folder / "checkpoint"
    adapted.save(checkpoint)
    result["sizes"] |= {
        "checkpoint_bytes": adapted.checkpoint_bytes(checkpoint, with_head=True),
        "checkpoint_bytes_without_head": adapted.checkpoint_bytes(checkpoint, with_head=False),
    }
    measured = diagnostics.Subject(adapted, snapshots, family, examples["train"], spec["diagnostics"])
    result["diagnostics"] |= diagnostics.measure(measured, folder)
    result["round_trip"] = _round_trip(spec, subject, checkpoint)
    broken = roundtrip.broken(result["round_trip"])
    result["outcome"] = "broken_round_trip" if broken else "ok"
    result["error"] = {"type": "BrokenRoundTrip", "message": broken} if broken else None
    if not spec["keep_checkpoint"]:
        shutil.rmtree(checkpoint)


def _round_trip(spec: RunSpec, subject: _Subject, checkpoint: Path) -> dict[str, Any]:
    if not spec["round_trip"]:
        return roundtrip.skipped("round_trip=false")
    return roundtrip.round_trip(
        subject.adapted,
        lambda: subject.family.load(spec["seeds"]["head"] + 1),
        checkpoint,
        subject.family,
        subject.examples["test" if "test" in subject.examples else "selection"],
    )


def _scores(task: Mapping[str, Any], scores: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The `metrics` of a record; further tests (MNLI mismatched) are kept beside the first, by name."""
    further = {name: value for name, value in scores.items() if name not in ("selection", "test")}
    return {
        "primary": task["primary_metric"],
        "selection": scores["selection"],
        "test": scores.get("test"),
        **({"further_tests": further} if further else {}),
    }


def _training_cost(history: training.History, counts_tokens: bool) -> dict[str, Any]:
    seconds = history.train_seconds
    return {
        "train_seconds": seconds,
        "selection_seconds": history.selection_seconds,
        "examples_per_second": history.examples / seconds if seconds else None,
        **({"tokens_per_second": history.tokens / seconds if seconds else None} if counts_tokens else {}),
    }


def _outcome(error: BaseException) -> str:
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return "interrupted"
    return "out_of_memory" if devices.is_out_of_memory(error) else "error"


def _described(error: BaseException, folder: Path) -> dict[str, Any]:
    (folder / "traceback.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return {"type": type(error).__name__, "message": str(error), "traceback": "traceback.txt"}


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        execute(Path(sys.argv[1]))
    except SpecError as refusal:
        (Path(sys.argv[1]) / "refused.json").write_text(json.dumps(refusal.errors), encoding="utf-8")
        sys.exit(REFUSED)
