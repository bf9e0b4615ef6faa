"""The keys of tasks whose labels are classes or, in a regression, numbers; which scores there are of such labels."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.families.sections import score_errors
from schema.sections import Task


def computable(classes: int | None) -> tuple[str, ...]:
    """The scores of predicted labels.

    Args:
        classes: how many there are; None: the labels are numbers. F1 is that of class 1 and needs exactly two.
    """
    if classes is None:
        return ("pearson", "spearman")
    return ("accuracy", *(["f1"] if classes == 2 else []), "f1_macro", "matthews_correlation")


def metric_errors(metrics: Sequence[str], classes: int | None) -> list[str]:
    """One line for each of `metrics` that is no score of so many classes (None: of numbers); it begins with its key."""
    return score_errors(metrics, computable(classes), "a regression" if classes is None else f"{classes} classes")


class LabelTask(Task):
    """A task of classification or of regression."""

    def problems(self) -> list[str]:
        """Scores that there are not for such labels; how many classes a folder has is known once it is read."""
        classes: int | None
        match self.classes:
            case list() as names:
                classes = len(names)
            case "folder":
                classes = 2
            case int() | None as number:
                classes = number
        return [*super().problems(), *metric_errors(self.metrics, classes)]
