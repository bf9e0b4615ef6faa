"""What `${...:}` means in conf/ besides OmegaConf's own: above all which recipe a run has, and which column of it.

A recipe is one file per method and backbone, `conf/recipe/METHOD/BACKBONE.yaml`. `recipe.sources.tasks` names its
columns, `${column:80, 30}` has a value for each of them. A recipe that names no tasks is for every task, and is taken
where it is asked for: by conf/profile/embedded.yaml, for what the suite generates, or on the command line.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from experiments.configuration.groups import found
from experiments.families import FAMILIES, sections_of

DEFAULT = "default"


def register() -> None:
    """Make the resolvers known to OmegaConf; Hydra asks them while it composes."""
    for resolver in (embedded_backbone, embedded_recipe, recipe_for, column, when, at_home):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)


def embedded_backbone(task: str) -> str:
    """The suite's own backbone for a task, by the family that its name begins with (conf/profile/embedded.yaml)."""
    family = str(task).partition("/")[0]
    return sections_of(family if family in FAMILIES else FAMILIES[0]).embedded_backbone


def recipe_for(method: str, backbone: str, task: str) -> str:
    """The recipe of a method on a backbone if it has a column for the task, else `default`."""
    name = f"{method}/{backbone}"
    return name if task in columns(name) else DEFAULT


def embedded_recipe(method: str, task: str) -> str:
    """The recipe of a method on the suite's own backbone, for every generated task; `default` where there is none."""
    name = f"{method}/{embedded_backbone(task)}"
    return name if found("recipe", name) else DEFAULT


def columns(recipe: str) -> list[str]:
    """The tasks that a recipe has values for; none if it names no task, or there is no such recipe."""
    path = found("recipe", recipe)
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path else {}
    return _listed(OmegaConf.select(OmegaConf.create(content), "recipe.sources.tasks", default=""))


def column(*values: Any, _root_: DictConfig) -> Any:
    """Of `values`, one for each of the recipe's tasks, that of the run's task; without values the task's name.

    Raises:
        ValueError: if the recipe has no column for the task, or another number of columns than there are values.
    """
    tasks, task = _listed(_root_.recipe.sources.tasks), _root_.task.name
    if task not in tasks:
        raise ValueError(f"the recipe has no column for task.name={task}; accepted: {', '.join(tasks)}")
    if values and len(values) != len(tasks):
        raise ValueError(f"{len(values)} values for {len(tasks)} tasks; accepted: one for each of {', '.join(tasks)}")
    return values[tasks.index(task)] if values else task


def when(condition: bool, value: Any, otherwise: Any) -> Any:
    """`value` where the condition, a key of the configuration, is true (conf/hydra/launcher/slurm.yaml)."""
    return value if condition else otherwise


def at_home(folder: str) -> str:
    """A path whose ~ is the home, for what Hydra does with it before it is checked; one that is none stays as it is."""
    with suppress(RuntimeError):
        return str(Path(folder).expanduser())
    return folder


def _listed(tasks: str) -> list[str]:
    return [task.strip() for task in tasks.split(",") if task.strip()]
