"""The RunSpec: one run's whole configuration."""

from __future__ import annotations

from typing import Annotated, Generic, Literal

from pydantic import SerializeAsAny
from typing_extensions import TypeVar

from schema.marks import NEUTRAL, RESULT, WHERE, Section
from schema.sections import Backbone, Data, Diagnostics, Logger, Method, Protocol, Recipe, Seeds, Task
from schema.values import Count, Flag, Folder, Seconds, SeedValue

TaskT = TypeVar("TaskT", bound=Task, default=Task)
BackboneT = TypeVar("BackboneT", bound=Backbone, default=Backbone)

Track = Literal["published", "equal_budget", "unsearched"]


class RunSpec(Section, Generic[TaskT, BackboneT]):
    """One run, checked: its sections and the values that stand in none.

    `RunSpec[task, backbone]`, with a family's own sections, is what a configuration is validated against.
    """

    seed: Annotated[SeedValue, NEUTRAL, "sets all of `seeds`"]
    d: Annotated[Count | None, NEUTRAL, "the capacity; it stands where the method keeps it"] = None
    plan: Annotated[Flag, NEUTRAL, "print sizes, counts and memory instead of running"]
    check: Annotated[Flag, NEUTRAL, "read, load and build all that a run needs, try one batch, and stop"] = False
    test: Annotated[Flag, RESULT, "false: leave the test split alone, as a trial of a search does"]
    rerun: Annotated[Flag, NEUTRAL, "run again what is recorded"]
    resume: Annotated[Flag, NEUTRAL, "keep the state of training after each epoch, and go on from it"] = False
    outputs: Annotated[Folder, WHERE, "the folder of run records"]
    isolation: Annotated[Literal["process", "none"], NEUTRAL, "whether a run has a process of its own"]
    local: Annotated[Folder | None, WHERE, "the folder of `profile=local`"] = None
    threads: Annotated[Count | None, WHERE, "CPU threads; null: torch's choice"] = None
    determinism: Annotated[
        Literal["off", "warn", "strict"],
        WHERE,
        "whether operations without a deterministic kernel run, are noted or fail",
    ] = "warn"
    hub_timeout: Annotated[Seconds, NEUTRAL, "seconds to wait for the hub"]
    keep_checkpoint: Annotated[Flag, NEUTRAL, "false: remove the trained weights after the round trip"]
    round_trip: Annotated[Flag, NEUTRAL, "false: the checkpoint is not tried, where memory is short"] = True
    track: Annotated[Track, RESULT, "where the hyperparameters come from"]
    trainer_version: Annotated[Count, RESULT, "raised by hand when a change of the training code changes results"] = 1
    seeds: Seeds
    method: Method
    task: SerializeAsAny[TaskT]
    data: Data
    backbone: SerializeAsAny[BackboneT]
    recipe: Recipe
    protocol: Protocol
    logger: Logger
    diagnostics: Diagnostics

    @property
    def task_name(self) -> str:
        """The task as tables print it: a generated task never passes for the real one."""
        return f"embedded/{self.task.name}" if self.data.source == "embedded" else self.task.name

    @property
    def records(self) -> bool:
        """Whether anything is run and recorded, rather than planned or checked alone."""
        return not (self.plan or self.check)

    def problems(self) -> list[str]:
        """A plan and a check at once, and smoothing of classes where there are none."""
        lines = ["check=true: plan=true loads nothing; accepted: one of them"] if self.plan and self.check else []
        smoothing, regression = self.recipe.label_smoothing, self.task.label_type == "class" and not self.task.classes
        if smoothing and regression:
            lines.append(
                f"recipe.label_smoothing={smoothing}: task={self.task.name} has numbers for labels; accepted: 0"
            )
        return lines
