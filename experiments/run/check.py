"""What `check=true` does instead of running: all that a run needs is read, built and tried on one batch."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from operator import itemgetter
from pathlib import Path
from statistics import fmean

import datasets
import torch

from experiments.data.labels import names_of
from experiments.errors import SpecError, shorten
from experiments.run import determinism, devices, preflight, processes, training
from experiments.run.preflight import Prepared
from experiments.run.report import aligned, size_lines
from experiments.run.subject import Subject, load
from schema.run import RunSpec

_Cells = list[tuple[str, str]]
"""A row of a table: the head of each column, and what stands below it."""

_WIDEST = 16
_MOST_CLASSES = 6
"""So many classes have a column each; of more, the smallest and the largest are told."""


def check(prepared: Prepared) -> str:
    """Go through a run up to its first step, and leave nothing of it.

    Returns:
        What there is to say: rows by split and class, tokens, parameters, the loss of a batch.

    Raises:
        SpecError: for what the run would be refused for; for a batch that does not fit into memory, or has no loss.
    """
    spec = prepared.spec
    if processes.size() > 1:
        raise SpecError([f"check=true: {processes.size()} processes were started; accepted: one, without torchrun"])
    determinism.apply(spec.determinism)
    if spec.threads:
        torch.set_num_threads(spec.threads)
    prepared.weights.folder()
    subject = load(prepared)
    sizes = preflight.model_sizes(subject.adapted)
    lines = {"recipe": spec.recipe.name, **size_lines(sizes), "batch": _batch(spec, subject)}
    title = f"check: {spec.method.name} on {spec.task_name}, {spec.backbone.name} (nothing trained or recorded)"
    table = aligned([_row(subject, split) for split in subject.rows])
    return "\n".join(
        [title, *(f"  {line}" for line in table), *(f"  {name:<10} {text}" for name, text in lines.items())]
    )


def _row(subject: Subject, split: str) -> _Cells:
    """What there is of a split."""
    rows = subject.rows[split]
    cells = [("split", split), ("rows", f"{len(rows):,}"), *_labels(subject, rows)]
    if (longest := subject.family.longest(rows, split)) is not None:
        cells += [("longest", f"{longest.tokens:,} tokens"), ("cut", f"{longest.cut:,} rows")]
    return cells


def _labels(subject: Subject, rows: datasets.Dataset) -> _Cells:
    """The rows of each class; of many classes those with the fewest and the most; of numbers their range."""
    task, classes = subject.family.task, subject.family.classes
    if task.label_type == "text":
        return []
    labels = rows[task.label][:]
    if not classes:
        return [("least", f"{min(labels):.4g}"), ("mean", f"{fmean(labels):.4g}"), ("most", f"{max(labels):.4g}")]
    counted = Counter(labels)
    counts = [(shorten(name, _WIDEST), counted[number]) for number, name in enumerate(names_of(classes))]
    if len(counts) <= _MOST_CLASSES:
        return [(name, f"{count:,}") for name, count in counts]
    least, most = min(counts, key=itemgetter(1)), max(counts, key=itemgetter(1))
    return [
        ("classes", str(len(counts))),
        *((head, f"{of}: {n:,}") for head, (of, n) in (("fewest", least), ("most", most))),
    ]


def _batch(spec: RunSpec, subject: Subject) -> str:
    """What came of a forward and a backward of one training batch, without a step."""
    if not subject.adapted.trainable:
        return "none tried: nothing trains"
    try:
        loss = _loss(spec, subject)
    except (RuntimeError, MemoryError) as error:
        if not devices.is_out_of_memory(error):
            raise
        raise SpecError(
            [
                f"recipe.batch_size={spec.recipe.batch_size}: one batch does not fit into memory; accepted: a smaller "
                "one, with recipe.accumulation"
            ]
        ) from error
    if not math.isfinite(loss):
        wrong = f"the first batch has the loss {loss}; accepted: weights and rows that have a finite one"
        raise SpecError([f"method={spec.method.name}: {wrong}"])
    examples = min(spec.recipe.batch_size, len(subject.examples["train"]))  # type: ignore[arg-type]  # not typed as sized
    return f"loss {loss:.4f} before the first step, forward and backward of {examples} examples"


def _loss(spec: RunSpec, subject: Subject) -> float:
    family, examples, adapted = subject.family, subject.examples, subject.adapted
    with tempfile.TemporaryDirectory() as folder, determinism.collected([]):
        run = training.trainer(spec, adapted, family, examples["train"], examples["selection"], Path(folder))
        batch = next(iter(run.get_train_dataloader()))
        with run.accelerator.autocast():
            loss = run.compute_loss(adapted.model.train(), run._prepare_inputs(batch))
        run.accelerator.backward(loss)
        return loss.item()
