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
from pathlib import Path
from typing import Any

import torch

from experiments import diagnostics, embedded, families
from experiments.configuration.spec import recorded
from experiments.data import sources
from experiments.diagnostics.snapshots import Snapshots
from experiments.errors import SpecError
from experiments.families.family import save
from experiments.records import provenance, record
from experiments.records.mirror import mirror
from experiments.run import preflight, roundtrip, training
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
        **provenance.collect(DETERMINISM),
    }
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
    task, family = spec["task"], families.family_of(spec)

    started = time.perf_counter()
    if spec["backbone"]["source"] == "embedded":
        # Once for all runs, so it is no part of the time of any.
        embedded.folder(spec["backbone"]["name"])
        result["cost"]["pretraining_seconds"] = time.perf_counter() - started
        started = time.perf_counter()
    splits = sources.load(task, spec["data"], spec["seeds"], spec["protocol"]["name"])
    result["provenance"]["data_fingerprint"] = splits.fingerprints()
    raw = {"train": splits.train, "selection": splits.selection, **(splits.tests if spec["test"] else {})}
    examples = {name: family.examples(rows, name) for name, rows in raw.items()}
    adapted = preflight.adapted(spec, family.load(spec["seeds"]["head"]))
    result["sizes"] = {**preflight.model_sizes(adapted), "runtime_state_bytes": adapted.runtime_state_bytes}
    result["cost"]["load_seconds"] = time.perf_counter() - started

    snapshots = Snapshots(adapted, spec["diagnostics"]["snapshots"])
    if adapted.trainable:
        run = training.trainer(spec, adapted, family, examples["train"], examples["selection"], folder)
        if spec["diagnostics"]["measures"]:
            run.add_callback(snapshots)
        history = training.train(run, adapted, "loss" if family.selects_by_loss else task["primary_metric"])
        result["history"] = history.as_record()
        result["cost"] |= _training_cost(history, family.trainer_options().counts_tokens)
        if history.diverged:
            result["outcome"] = "diverged"
            result["error"] = {"type": "Diverged", "message": "the training loss is not finite"}
            return

    started = time.perf_counter()
    names = [name for name in examples if name != "train"]
    predictions = {name: family.predict(adapted, name, raw[name], examples[name]) for name in names}
    result["cost"]["eval_seconds"] = time.perf_counter() - started
    save(list(predictions.values()), folder / "predictions.parquet")
    result["metrics"] = _scores(task, {name: part.metrics for name, part in predictions.items()})
    result["diagnostics"] |= family.notes()
    result["round_trip"] = roundtrip.round_trip(
        adapted,
        lambda: family.load(spec["seeds"]["head"] + 1),
        folder / "checkpoint",
        family,
        examples["test" if "test" in examples else "selection"],
    )
    result["sizes"] |= {
        "checkpoint_bytes": adapted.checkpoint_bytes(folder / "checkpoint", with_head=True),
        "checkpoint_bytes_without_head": adapted.checkpoint_bytes(folder / "checkpoint", with_head=False),
    }
    if not spec["keep_checkpoint"]:
        shutil.rmtree(folder / "checkpoint")
    subject = diagnostics.Subject(adapted, snapshots, family, examples["train"], spec["diagnostics"])
    result["diagnostics"] |= diagnostics.measure(subject, folder)
    result["cost"]["peak_memory_bytes"] = provenance.peak_memory_bytes()
    result["outcome"] = "ok"


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
        "examples_per_second": history.examples / seconds if seconds else None,
        **({"tokens_per_second": history.tokens / seconds if seconds else None} if counts_tokens else {}),
    }


def _outcome(error: BaseException) -> str:
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return "interrupted"
    memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "not enough memory" in str(error)
    return "out_of_memory" if memory else "error"


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
