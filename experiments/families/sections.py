"""What a family of tasks brings beside its code: its own keys, and the suite's own backbone for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from schema.sections import Backbone, Task
from schema.validation import nearest


@dataclass(frozen=True)
class FamilySections:
    """The sections of one family; `experiments.families.NAME.section.SECTIONS`.

    Attributes:
        task: the `task` section with the family's own keys.
        backbone: the `backbone` section with the family's own keys.
        processor: what makes a model's inputs and comes with its weights: a tokenizer, or an image processor.
        embedded_backbone: the name of the suite's own backbone for it, in conf/backbone.
        pretraining: the module that makes that backbone: `folder()` and `recipe_hash()`.
    """

    task: type[Task]
    backbone: type[Backbone]
    processor: Literal["tokenizer", "image"]
    embedded_backbone: str
    pretraining: str

    def embedded_folder(self) -> Path:
        """The folder of the suite's own backbone; pretrained where it is not cached yet.

        Raises:
            SpecError: if it has to be made and the cache cannot be written.
        """
        return Path(import_module(self.pretraining).folder())

    def embedded_recipe(self) -> str:
        """The identity of that backbone: the hash of all that its weights depend on."""
        return str(import_module(self.pretraining).recipe_hash())


def score_errors(metrics: Sequence[str], accepted: Sequence[str], of: str) -> list[str]:
    """One line for each of a task's `metrics` that is not accepted; it begins with its key in the section.

    Args:
        metrics: names of scores.
        accepted: the scores that there are.
        of: what they are scores of, in words.
    """
    return [
        f"metrics={name}: no score of {of}{nearest(name, accepted)}; accepted: {', '.join(accepted)}"
        for name in metrics
        if name not in accepted
    ]
