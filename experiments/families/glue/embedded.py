"""The sentence tasks that the suite generates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.embedded import tasks
from experiments.embedded.generator import Generator

if TYPE_CHECKING:
    import datasets


def _totals(task: tasks.SentenceTask) -> dict[str, int]:
    return {"train": tasks.TRAIN_ROWS, **dict.fromkeys(task.heldout, tasks.VALIDATION_ROWS)}


def _rows(task: str, split: str) -> datasets.Dataset:
    return tasks.sentence_task(task.removeprefix("glue/"), split)


GENERATOR = Generator(
    tasks.GENERATOR_VERSION, {f"glue/{name}": _totals(task) for name, task in tasks.TASKS.items()}, _rows
)
