"""What a family of tasks brings to a run's configuration: its own keys, and the suite's own backbone for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schema.sections import Backbone, Task
from schema.validation import nearest


@dataclass(frozen=True)
class FamilySections:
    """The sections of one family; `experiments.families.NAME.section.SECTIONS`.

    Attributes:
        task: the `task` section with the family's own keys.
        backbone: the `backbone` section with the family's own keys.
        embedded_backbone: the name of the suite's own backbone for it, in conf/backbone.
    """

    task: type[Task]
    backbone: type[Backbone]
    embedded_backbone: str


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
