"""What a family of tasks brings to a run's configuration: its own keys, and the suite's own backbone for it."""

from __future__ import annotations

from dataclasses import dataclass

from schema.sections import Backbone, Task


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
