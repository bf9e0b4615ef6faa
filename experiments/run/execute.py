"""One run, from prepared spec to record."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from baselines import Adapted
from experiments import diagnostics
from experiments.configuration.spec import stored
from experiments.diagnostics.snapshots import Snapshots
from experiments.errors import SpecError
from experiments.families.family import save
from experiments.records import provenance, record
from experiments.run import (
    determinism,
    devices,
    ending,
    group,
    preflight,
    processes,
    resume,
    roundtrip,
    signals,
    training,
)
from experiments.run.preflight import Prepared
from experiments.run.subject import Subject, load
from schema.diagnostics import Diagnostics
from schema.plan import Plan
from schema.record import Cost, Error, Metrics, Record, RoundTrip
from schema.run import RunSpec


def execute(folder: Path) -> Record:
    """Carry out the attempt described in `folder`/spec.json and write `folder`/record.json, whatever happens.

    Raises:
        SpecError: if the rows or weights themselves are refused, or the record cannot be written.
        Interrupted: if a signal ended the run; it is recorded.
    """
    plan = Plan.model_validate_json((folder / "spec.json").read_text(encoding="utf-8"))
    result = _begun(plan)
    counts = result.provenance.accelerators
    if counts and (notice := devices.notice(counts)):
        print(f"note: {notice}")
    interruption: KeyboardInterrupt | None = None
    try:
        with record.Attempt(folder, plan), determinism.collected(result.provenance.nondeterministic):
            _measure(plan, folder, result)
    except SpecError:
        raise
    except BaseException as error:
        with signals.ignored():
            ending.failed(result, error, folder)
        interruption = error if isinstance(error, KeyboardInterrupt) else None
    with signals.ignored():
        ending.finish(result, folder)
    if interruption is not None:
        raise interruption
    return result


def assist(folder: Path) -> int:
    """Train with the process that carries out the attempt, and write nothing.

    Returns:
        0; 1 where the run fails here, which that process is told.

    Raises:
        SpecError: as `execute`.
    """
    plan = Plan.model_validate_json((folder / "spec.json").read_text(encoding="utf-8"))
    try:
        _measure(plan, folder, _begun(plan))
    except SpecError:
        raise
    except BaseException as error:
        group.agreed(ending.described(error))
        return 1
    return 0


def _begun(plan: Plan) -> Record:
    """The record of an attempt that begins, with all that the states of training are bound to."""
    result, level = record.blank(plan), stored(plan.config).determinism
    determinism.apply(level)
    result.provenance = provenance.collect(result.provenance, level)
    return result


def _measure(plan: Plan, folder: Path, result: Record) -> None:
    spec = stored(plan.config)
    if spec.threads:
        torch.set_num_threads(spec.threads)
    prepared = preflight.prepare(spec, plan.identity.hashed)
    if prepared.id != plan.id:
        raise SpecError(
            ["data.path, backbone.path: changed since the run was planned; accepted: the same command again"]
        )
    started = time.perf_counter()
    prepared.weights.folder()  # fetched or pretrained once for all runs, so it is no part of the time of any
    if spec.backbone.source == "embedded":
        result.cost.pretraining_seconds = time.perf_counter() - started
    subject = _load(prepared, result)
    snapshots = Snapshots(subject.adapted, spec.diagnostics.snapshots)
    if subject.adapted.trainable and not _train(spec, subject, snapshots, folder, result):
        return
    if processes.leads():
        _report(spec, subject, snapshots, folder, result)


def _report(spec: RunSpec, subject: Subject, snapshots: Snapshots, folder: Path, result: Record) -> None:
    _score(spec, subject, folder, result)
    # What follows proves and explains the result; its memory is no part of the run's cost.
    result.cost.peak_memory_bytes = provenance.peak_memory_bytes()
    _save(spec, subject, snapshots, folder, result)


def _load(prepared: Prepared, result: Record) -> Subject:
    started = time.perf_counter()
    subject = load(prepared)
    result.provenance.data_fingerprint = subject.fingerprints
    result.sizes = preflight.model_sizes(subject.adapted)
    result.sizes.runtime_state_bytes = subject.adapted.runtime_state_bytes
    result.cost.load_seconds = time.perf_counter() - started
    return subject


def _train(spec: RunSpec, subject: Subject, snapshots: Snapshots, folder: Path, result: Record) -> bool:
    """Whether training left an epoch to go on with; the model is at that epoch."""
    adapted, family, examples = subject.adapted, subject.family, subject.examples
    states = _states(spec, adapted, folder, result)
    with group.joined():
        run = training.trainer(spec, adapted, family, examples["train"], examples["selection"], folder, states)
        if spec.diagnostics.measures:
            run.add_callback(snapshots)
        history = training.train(run, adapted, "loss" if family.selects_by_loss else spec.task.primary_metric)
    result.history = history.as_record()
    _count_cost(result.cost, history, family.trainer_options().counts_tokens)
    if history.diverged:
        result.outcome, result.error = "diverged", Error(type="Diverged", message=history.diverged)
    return not history.diverged


def _states(spec: RunSpec, adapted: Adapted, folder: Path, result: Record) -> resume.States | None:
    """Where the state of training is kept; None where it is not asked for, or not all of it is known."""
    if spec.resume and not adapted.can_resume:
        print(f"note: resume=true: method={adapted.name} has steps of its own of unknown state; nothing is kept")
    if not spec.resume or not adapted.can_resume:
        return None
    snapshots = spec.diagnostics.snapshots if spec.diagnostics.measures else 0
    return resume.States(folder, resume.origin(result.id, result.provenance, snapshots=snapshots), result.provenance)


def _count_cost(cost: Cost, history: training.History, counts_tokens: bool) -> None:
    seconds = cost.train_seconds = history.train_seconds
    cost.selection_seconds = history.selection_seconds
    if seconds:
        cost.examples_per_second = history.examples / seconds
        cost.tokens_per_second = history.tokens / seconds if counts_tokens else None


def _score(spec: RunSpec, subject: Subject, folder: Path, result: Record) -> None:
    """Predict and score every split but the training rows."""
    started = time.perf_counter()
    predictions = {
        name: subject.family.predict(subject.adapted, name, subject.rows[name], examples)
        for name, examples in subject.examples.items()
        if name != "train"
    }
    result.cost.eval_seconds = time.perf_counter() - started
    save(list(predictions.values()), folder / "predictions.parquet")
    scores = {name: part.metrics for name, part in predictions.items()}
    selection, test = scores.pop("selection"), scores.pop("test", None)
    result.metrics = Metrics(primary=spec.task.primary_metric, selection=selection, test=test, further_tests=scores)
    result.diagnostics = _noted(result.diagnostics, subject.family.notes())


def _save(spec: RunSpec, subject: Subject, snapshots: Snapshots, folder: Path, result: Record) -> None:
    """The checkpoint, diagnostics and the round trip, which comes last as it may leave a model that is half merged."""
    adapted, family, examples, checkpoint = subject.adapted, subject.family, subject.examples, folder / "checkpoint"
    adapted.save(checkpoint)
    result.sizes.checkpoint_bytes = adapted.checkpoint_bytes(checkpoint, with_head=True)
    result.sizes.checkpoint_bytes_without_head = adapted.checkpoint_bytes(checkpoint, with_head=False)
    measured = diagnostics.Subject(adapted, snapshots, family, examples["train"], spec.diagnostics)
    result.diagnostics = _noted(result.diagnostics, diagnostics.measure(measured, folder))
    result.round_trip = _round_trip(spec, subject, checkpoint)
    broken = roundtrip.broken(result.round_trip)
    result.outcome = "broken_round_trip" if broken else "ok"
    result.error = Error(type="BrokenRoundTrip", message=broken) if broken else None
    if not spec.keep_checkpoint:
        shutil.rmtree(checkpoint)


def _noted(before: Diagnostics, measured: Mapping[str, object]) -> Diagnostics:
    """The diagnostics with what was measured since; what is not finite becomes null."""
    return Diagnostics.model_validate(record.strict({**before.model_dump(by_alias=True), **measured}))


def _round_trip(spec: RunSpec, subject: Subject, checkpoint: Path) -> RoundTrip:
    if not spec.round_trip:
        return roundtrip.skipped("round_trip=false")
    return roundtrip.round_trip(
        subject.adapted,
        lambda: subject.family.load(spec.seeds.head + 1),
        checkpoint,
        subject.family,
        subject.examples["test" if "test" in subject.examples else "selection"],
    )
