"""What a run trains and scores: rows, examples and the adapted model, loaded and on their device."""

from __future__ import annotations

from dataclasses import dataclass

import datasets

from baselines import Adapted
from experiments.data import sources
from experiments.families.family import Examples, Family
from experiments.run import devices, preflight, processes
from experiments.run.preflight import Prepared


@dataclass(frozen=True)
class Subject:
    """What a run trains and scores.

    Attributes:
        family: of the task.
        rows: by split: `train`, `selection`, tests.
        fingerprints: of the rows of every split, whether it is scored or not.
        examples: what the model is given of them, by split.
        adapted: the model, on its device.
    """

    family: Family
    rows: dict[str, datasets.Dataset]
    fingerprints: dict[str, str]
    examples: dict[str, Examples]
    adapted: Adapted


def load(prepared: Prepared) -> Subject:
    """Read and check every row of a run, and apply its method to its backbone.

    Raises:
        SpecError: if the rows or weights themselves are refused.
    """
    spec, family = prepared.spec, prepared.family
    splits = sources.load(prepared.source, spec)
    if processes.leads():
        print(*(f"note: {note}" for note in splits.notes), sep="\n", end="\n" if splits.notes else "")
    rows = {"train": splits.train, "selection": splits.selection, **(splits.tests if spec.test else {})}
    examples = {name: family.examples(part, name) for name, part in rows.items()}
    adapted = preflight.adapted(spec, family.load(spec.seeds.head))
    adapted.model.to(devices.device())
    return Subject(family, rows, splits.fingerprints(), examples, adapted)
