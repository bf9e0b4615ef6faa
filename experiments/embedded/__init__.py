"""Data and backbones made by the suite itself: no hub, no download (DESIGN.md, "Data" and "Backbone").

Nothing here imports torch or transformers until a backbone is really asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.embedded import pretraining
from experiments.embedded.pretraining import encoder_folder
from experiments.embedded.tasks import GENERATOR_VERSION, TASKS, sentence_task

if TYPE_CHECKING:
    import datasets

__all__ = ["TASKS", "encoder_folder", "folder", "generator_version", "recipe_hash", "rows", "sentence_task"]


def folder(backbone: str) -> Path:
    """The folder of an embedded backbone, by its name in conf/backbone; pretrained where it is not cached yet."""
    match backbone:
        case "embedded-vit":
            from experiments.embedded import vision

            return vision.vit_folder()
        case "embedded-causal":
            from experiments.embedded import causal

            return causal.causal_folder()
    return encoder_folder()


def recipe_hash(backbone: str) -> str:
    """The identity of an embedded backbone: the hash of all that its weights depend on."""
    match backbone:
        case "embedded-vit":
            from experiments.embedded import vision

            return vision.recipe_hash()
        case "embedded-causal":
            from experiments.embedded import causal

            return causal.recipe_hash()
    return pretraining.recipe_hash()


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
