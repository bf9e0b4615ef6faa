"""What a run prints at its end, and what `plan=true` and `check=true` print instead of running."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.errors import shorten
from schema.record import Error, Metrics, Record, Scores, Sizes
from schema.run import RunSpec

_BYTES_PER_WEIGHT = 4
"""float32."""


def run_report(result: Record, folder: Path, remark: str = "") -> str:
    """A few lines on one run record: scores, counts, time, and where the record is."""
    key, sizes, cost, history = result.key, result.sizes, result.cost, result.history
    lines = ["", f"{result.config.method.name} on {key.task}, {key.backbone}: {result.outcome}"]
    lines += [f"  {remark}"] if remark else []
    lines += [f"  reason     {_reason(result.error)}"] if result.error else []
    lines += [f"  {name:<10} {_scores(scores, result.metrics)}" for name, scores in _splits(result.metrics)]
    if history.best_epoch is not None:
        kept = f"{history.best_epoch:.4g} of {len([part for part in history.epochs if part.epoch > 0])}"
        lines.append(f"  epoch      {kept} kept, by the selection split")
    if sizes.theta is not None:
        lines.append(f"  trainable  {sizes.theta:,} + head {sizes.head:,} of {sizes.total:,} parameters")
    if cost.train_seconds:
        pretraining = cost.pretraining_seconds or 0.0
        once = f" (and {pretraining:.0f} s pretraining the backbone, once)" if pretraining > 1 else ""
        lines.append(f"  time       {cost.load_seconds:.1f} s loading, {cost.train_seconds:.1f} s training{once}")
    return "\n".join([*lines, f"  recipe     {result.config.recipe.name}", f"  record     {folder}/record.json"])


def _reason(error: Error) -> str:
    return shorten(f"{error.type}: {' '.join(error.message.split())}")


def _splits(metrics: Metrics) -> list[tuple[str, Scores]]:
    named = [("test", metrics.test), ("selection", metrics.selection)]
    return [(name, scores) for name, scores in named if scores]


def _scores(scores: Scores, metrics: Metrics) -> str:
    ordered = sorted(scores, key=lambda name: name != metrics.primary)
    return ", ".join(f"{name} {_shown(name, scores[name])}" for name in ordered)


def _shown(name: str, score: float | None) -> str:
    if score is None:
        return "undefined"
    return f"{score:.4f}" if name == "loss" else f"{100 * score:.2f}"


def plan_report(spec: RunSpec, sizes: Sizes) -> str:
    """Counts and memory of a run that has not been made."""
    if sizes.trainable is None or sizes.total is None or sizes.theta is None:
        return f"plan: {spec.method.name} looks at the weights: nothing can be counted without them"
    rows = {"recipe": spec.recipe.name, **size_lines(sizes)}
    title = f"plan: {spec.method.name} on {spec.task_name}, {spec.backbone.name} (nothing loaded or run)"
    return "\n".join([title, *(f"  {name:<10} {text}" for name, text in rows.items())])


def size_lines(sizes: Sizes) -> dict[str, str]:
    """Counts and memory of a model whose values have been counted, by what is counted."""
    assert sizes.trainable is not None
    assert sizes.total is not None
    assert sizes.theta is not None
    states = 3 * sizes.trainable  # gradient and AdamW's two moments
    return {
        "theta": f"{sizes.theta:,} trainable values of the method",
        "head": f"{sizes.head:,} trainable values of the head",
        "adapted": f"{sizes.adapted_weights:,} weights that the method may change",
        "backbone": f"{sizes.total:,} parameters in all",
        "checkpoint": f"{_megabytes(sizes.trainable)} of values, {_megabytes(sizes.theta)} without the head",
        "memory": f"{_megabytes(sizes.total + states)} for weights, gradients and AdamW; activations come on top",
    }


def aligned(rows: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    """A table as lines of text: the first column to the left, the others to the right, below their heads.

    Args:
        rows: pairs of head and cell, the same heads in each row.
    """
    lines = [[head for head, _ in rows[0]], *([cell for _, cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(_padded, line, [-max(10, widths[0]), *widths[1:]])) for line in lines]


def _padded(text: str, width: int) -> str:
    """The text to the right of so many columns; of a negative number of them to the left."""
    return text.rjust(width) if width >= 0 else text.ljust(-width)


def _megabytes(values: int) -> str:
    return f"{values * _BYTES_PER_WEIGHT / 2**20:,.2f} MiB"
