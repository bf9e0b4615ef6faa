"""The RunSpec: one run's resolved configuration, checked before anything is loaded or written.

This module imports neither torch nor transformers, so that a wrong key is answered at once; what needs the shapes of
the backbone is checked in `experiments.run.preflight`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.configuration import resolvers
from experiments.configuration.rules import rules
from experiments.errors import SpecError
from experiments.families.math import prompts

Config = dict[str, Any]

resolvers.register()

TRAINER_VERSION = 1
"""Raised by hand when a change of the training or evaluation code changes results; part of a run's identity."""

# Sections whose further keys are data of their own: checked by whoever uses them.
FREE = ("method.config", "backbone.architecture", "recipe.sources")
SECTIONS = ("seeds", "method", "task", "data", "backbone", "recipe", "protocol", "logger", "diagnostics")


@dataclass(frozen=True)
class RunSpec:
    """One run: its resolved configuration (a plain, nested dict; the keys of `rules`) and the notices to print."""

    config: Config
    notices: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, composed: DictConfig) -> RunSpec:
        """Resolve and check a composed Hydra configuration.

        Raises:
            SpecError: one line per wrong key, all of them at once.
        """
        try:
            config = cast(Config, OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
        except OmegaConfBaseException as error:
            key = getattr(error, "full_key", None) or "config"
            raise SpecError([f"{key}: {str(error).splitlines()[0]}"]) from None
        errors = _check(config)
        if errors:
            raise SpecError(errors)
        if config["task"]["family"] == "math":
            # By its words and not by its name, so that the identity sees a change of the template.
            config["task"]["prompt"] = prompts.section(config["task"]["prompt"])
        config, notices = _with_capacity(config)
        return cls({**config, "trainer_version": TRAINER_VERSION}, notices)

    def __getitem__(self, section: str) -> Any:
        """A top-level section or value of the configuration."""
        return self.config[section]

    @property
    def task_name(self) -> str:
        """The task as tables print it: a generated task never passes for the real one."""
        prefix = "embedded/" if self["data"]["source"] == "embedded" else ""
        return prefix + self["task"]["name"]


def _select(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return KeyError
        value = value[part]
    return value


def _check(config: Config) -> list[str]:
    family, other = _select(config, "task.family"), _select(config, "backbone.family")
    if family != other and all(isinstance(value, str) for value in (family, other)):
        return [
            f"backbone={_select(config, 'backbone.name')}: a backbone for the tasks of {other}, and "
            f"task={_select(config, 'task.name')} is one of {family}; accepted: a backbone whose family is {family}"
        ]
    errors, known = [], rules(family)
    for key, (accepts, accepted) in known.items():
        value = _select(config, key)
        if value is KeyError:
            errors.append(f"{key}: missing; accepted: {accepted}")
        elif not accepts(value):
            errors.append(f"{key}={_show(value)}: not accepted; accepted: {accepted}")
    errors += [f"{key}: unknown key; accepted: {accepted}" for key, accepted in _unknown(config, known)]
    errors += _missing_folders(config)
    return errors


def _unknown(config: Config, known: Mapping[str, Any]) -> list[tuple[str, str]]:
    unknown = []
    for name, value in config.items():
        if name in SECTIONS and name != "task":
            accepted = [key.split(".")[1] for key in [*known, *FREE] if key.startswith(name + ".")]
            unknown += [(f"{name}.{key}", ", ".join(accepted)) for key in value if key not in accepted]
        elif name not in SECTIONS and name not in known:
            unknown.append((name, ", ".join([*SECTIONS, *(key for key in known if "." not in key)])))
    return unknown


def _missing_folders(config: Config) -> list[str]:
    errors = []
    for section in ("data", "backbone"):
        part = config.get(section)
        if isinstance(part, dict) and part.get("source") == "local" and not part.get("path"):
            errors.append(f"{section}.path=null: {section}.source=local needs a folder; accepted: an existing folder")
    backbone = config.get("backbone")
    if isinstance(backbone, dict) and backbone.get("source") == "hub" and not backbone.get("hub"):
        errors.append("backbone.hub=null: backbone.source=hub needs a name; accepted: OWNER/NAME on the model hub")
    return errors


def _show(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _with_capacity(config: Config) -> tuple[Config, tuple[str, ...]]:
    """Put the one capacity knob `d` where the method keeps it, or drop it where the method has none."""
    method, requested = config["method"], config.pop("d")
    capacity, recipe_value = method["capacity"], config["recipe"].pop("d")
    if capacity is not None:
        chosen = (requested, method["config"].get(capacity), recipe_value)
        value = next((candidate for candidate in chosen if candidate is not None), None)
        if value is None:
            raise SpecError(["d=null: the recipe names no d for this method; accepted: an integer of at least 1"])
        method["config"][capacity] = value
        return config, ()
    if requested is None:
        return config, ()
    return config, (f"d={requested} does not apply to method={method['name']}: it has no such capacity",)
