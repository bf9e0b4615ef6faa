"""What each family of tasks does in its own way, behind one interface: GLUE, vision, mathematical reasoning."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.configuration.spec import RunSpec
    from experiments.families.family import Family


def family_of(spec: RunSpec) -> Family:
    """The family of a run's task, for that run; its libraries are imported only when it is asked for."""
    match spec["task"]["family"]:
        case "vision":
            from experiments.families.vision.family import Vision

            return Vision(spec)
        case "math":
            from experiments.families.math.family import Math

            return Math(spec)
    from experiments.families.glue.family import Glue

    return Glue(spec)
