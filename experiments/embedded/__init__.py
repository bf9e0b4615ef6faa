"""Data and backbones made by the suite itself: no hub, no download (DESIGN.md, "Data" and "Backbone").

The rows are asked for here. The backbones are made by the module that each family names (`FamilySections.pretraining`).
Nothing here imports torch or transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.embedded.tasks import GENERATOR_VERSION, TASKS, sentence_task

if TYPE_CHECKING:
    import datasets

__all__ = ["TASKS", "check", "generator_version", "rows", "sentence_task"]


def rows(task: str, split: str) -> datasets.Dataset:
    """The rows of a split of a task, by its name in conf/task, with the columns that the hub's would have.

    Raises:
        ValueError: for a task that the suite has no rows of.
    """
    family, _, name = task.partition("/")
    if task == "vision/digits":
        from experiments.embedded.vision import digits

        return digits(split)
    if task == "math/gsm8k":
        from experiments.embedded.arithmetic import word_problems

        return word_problems(split)
    if family == "glue":
        return sentence_task(name, split)
    raise ValueError(*check(task))


def check(task: str) -> list[str]:
    """One line where the suite has no rows of a task."""
    if task in ("vision/digits", "math/gsm8k") or task.removeprefix("glue/") in TASKS:
        return []
    return [f"data=embedded: nothing is generated for task={task}; accepted: glue/*, vision/digits, math/gsm8k"]


def generator_version(task: str) -> int:
    """The version of what `rows` gives."""
    family = task.partition("/")[0]
    if family == "vision":
        from experiments.embedded import images

        return images.GENERATOR_VERSION
    if family == "math":
        from experiments.embedded import arithmetic

        return arithmetic.GENERATOR_VERSION
    return GENERATOR_VERSION
