"""What each family of tasks (sentences, images, mathematical reasoning) does in its own way, behind one interface.

A family is a folder here and a name in `FAMILIES`: `section.py` holds its keys, `embedded.py` what the suite generates
for it, `family.py` its code.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from schema.run import RunSpec

if TYPE_CHECKING:
    from experiments.data.weights import Weights
    from experiments.embedded.generator import Generator
    from experiments.families.family import Classes, Family
    from experiments.families.sections import FamilySections

FAMILIES = ("glue", "vision", "math")


def sections_of(family: str) -> FamilySections:
    """The sections of a family, by its name in `FAMILIES`; imports nothing heavy."""
    return cast("FamilySections", import_module(f"experiments.families.{family}.section").SECTIONS)


def generator_of(family: str) -> Generator:
    """The generated rows of a family, by its name in `FAMILIES`; imports nothing heavy."""
    return cast("Generator", import_module(f"experiments.families.{family}.embedded").GENERATOR)


def spec_of(family: str) -> type[RunSpec]:
    """What a run's configuration is validated against; without a family's own keys where there is no such family."""
    if family not in FAMILIES:
        return RunSpec
    sections = sections_of(family)
    return RunSpec[sections.task, sections.backbone]  # type: ignore[name-defined]  # known only when it runs


def family_of(spec: RunSpec, weights: Weights, classes: Classes) -> Family:
    """The family of a run's task, for that run; its libraries are imported only when it is asked for.

    Args:
        spec: of the run.
        weights: the pretrained weights of its backbone.
        classes: of its task.
    """
    module = import_module(f"experiments.families.{spec.task.family}.family")
    return cast("Family", module.FAMILY(spec, weights, classes))
