"""What is measured beside scores: inside the run, after them, with generators of its own (`diagnostics=...`)."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from baselines import Adapted
from experiments.diagnostics.errors import NotApplicableError
from experiments.diagnostics.isometry import measure_isometry
from experiments.diagnostics.landscape import measure_landscape
from experiments.diagnostics.snapshots import Snapshots
from experiments.families.family import Examples, Family
from schema.diagnostics import Isometry, Landscape, NotMeasured
from schema.sections import Diagnostics as Options

__all__ = ["MEASURES", "Subject", "measure"]


@dataclass(frozen=True)
class Subject:
    """What diagnostics look at.

    Attributes:
        adapted: the trained model, at the epoch that was kept. It must be left as it was found.
        snapshots: the trained values along training.
        family: the run's family of tasks.
        examples: the training examples.
        options: the section `diagnostics` of the run's configuration.
    """

    adapted: Adapted
    snapshots: Snapshots
    family: Family
    examples: Examples
    options: Options


def _isometry(subject: Subject) -> Isometry:
    return measure_isometry(subject.adapted, subject.snapshots, subject.options)


def _landscape(subject: Subject) -> Landscape:
    return measure_landscape(subject.adapted, subject.snapshots, subject.family, subject.examples, subject.options)


MEASURES: Mapping[str, Callable[[Subject], Isometry | Landscape]] = {"isometry": _isometry, "landscape": _landscape}
"""By the name that `diagnostics.measures` lists and the record's `diagnostics` has."""


def measure(subject: Subject, folder: Path) -> dict[str, Isometry | Landscape | NotMeasured]:
    """Everything that the options ask for, by name; what fails says so in its place and costs the run nothing.

    Args:
        subject: what is looked at.
        folder: the run's; the traceback of a failed diagnostic goes there.
    """
    return {name: _measured(name, subject, folder) for name in subject.options.measures}


def _measured(name: str, subject: Subject, folder: Path) -> Isometry | Landscape | NotMeasured:
    started = time.perf_counter()
    try:
        with torch.random.fork_rng():
            return MEASURES[name](subject)
    except NotApplicableError as error:
        return NotMeasured(status="not applicable", reason=str(error), seconds=time.perf_counter() - started)
    except Exception as error:  # the run's own result stands, whatever a diagnostic runs into
        file = f"traceback-{name}.txt"
        (folder / file).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        seconds = time.perf_counter() - started
        return NotMeasured(status="failed", reason=reason, seconds=seconds, traceback=file)
