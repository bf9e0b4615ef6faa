"""From a composed Hydra configuration to a checked RunSpec, before anything is loaded or written.

This module imports neither torch nor transformers, so that a wrong key is answered at once; what needs the shapes of
the backbone is checked in `experiments.run.preflight`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.configuration import resolvers
from experiments.errors import SpecError
from experiments.families import FAMILIES, spec_of
from schema import validation
from schema.marks import section_of
from schema.run import RunSpec
from schema.values import accepted

Config = dict[str, Any]

resolvers.register()

TRAINER_VERSION = 1
"""Raised by hand when a change of the training or evaluation code changes results; part of a run's identity."""


def parse(composed: DictConfig) -> tuple[RunSpec, list[str]]:
    """Resolve and check a composed Hydra configuration.

    Returns:
        the run, and what has to be said about it before it starts.

    Raises:
        SpecError: one line per wrong key, all of them at once.
    """
    if errors := _shape_errors(composed):
        raise SpecError(errors)
    try:
        config = cast(Config, OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    except OmegaConfBaseException as error:
        raise SpecError([_unresolved(composed, error)]) from None
    errors = _family_errors(config) or validation.errors(spec_of(_family(config)), config)
    if errors:
        raise SpecError(_without_followers(errors, composed))
    notices = _put_capacity(config)
    return stored({**config, "trainer_version": TRAINER_VERSION}), notices


def _shape_errors(composed: DictConfig) -> list[str]:
    """Sections that are missing or no mappings, into which others of them may point."""
    raw = cast(Config, OmegaConf.to_container(composed, resolve=False))
    sections = [name for name, field in RunSpec.model_fields.items() if section_of(field)]
    lines = [f"{name}: missing; accepted: a mapping" for name in sections if name not in raw]
    if "seed" not in raw:  # which stands in all of `seeds`
        lines.append(f"seed: missing; accepted: {accepted(RunSpec.model_fields['seed'])}")
    return lines + [
        f"{name}={validation.shown(raw[name])}: not accepted; accepted: a mapping"
        for name in sections
        if name in raw and not isinstance(raw[name], dict)
    ]


def _unresolved(composed: DictConfig, error: OmegaConfBaseException) -> str:
    """What cannot be resolved, in a line."""
    key, reason = str(getattr(error, "full_key", None) or "config"), str(error).splitlines()[0]
    return f"{key}={_raw(composed, key)}: {reason}; accepted: a value, or keys and variables that there are"


def _without_followers(errors: list[str], composed: DictConfig) -> list[str]:
    """The errors without those of keys that only repeat another wrong key, as all of `seeds` do `seed`."""
    wrong = {validation.key_of(line) for line in errors}
    followed = {line: re.fullmatch(r"\$\{([\w.]+)\}", _raw(composed, validation.key_of(line))) for line in errors}
    return [line for line, source in followed.items() if source is None or source[1] not in wrong]


def _raw(composed: DictConfig, key: str) -> str:
    """What a dotted key holds, interpolations as they stand; empty where it is not there."""
    value: object = OmegaConf.to_container(composed, resolve=False)
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def stored(config: Mapping[str, object]) -> RunSpec:
    """The run of a configuration that was checked before, as a plan or a record of schema 2 keeps it."""
    return spec_of(_family(config)).model_validate(config)


def _family(config: Mapping[str, object]) -> str:
    task = config.get("task")
    return str(task.get("family")) if isinstance(task, Mapping) else ""


def _family_errors(config: Config) -> list[str]:
    """A family that is missing or that there is none of, or a backbone of another than the task's."""
    task, backbone = (config.get(section) for section in ("task", "backbone"))
    if not isinstance(task, dict) or not isinstance(backbone, dict):
        return []
    families = f"accepted: one of {', '.join(FAMILIES)}"
    wrong = [
        f"{name}.family={validation.shown(part['family'])}: not accepted; {families}"
        if "family" in part
        else f"{name}.family: missing; {families}"
        for name, part in (("task", task), ("backbone", backbone))
        if part.get("family") not in FAMILIES
    ]
    if wrong or task["family"] == backbone["family"]:
        return wrong
    return [
        f"backbone={backbone.get('name')}: a backbone for the tasks of {backbone['family']}, and "
        f"task={task.get('name')} is one of {task['family']}; accepted: a backbone whose family is {task['family']}"
    ]


def _put_capacity(config: Config) -> list[str]:
    """Put the one capacity knob `d` where the method keeps it, or drop it where the method has none."""
    method, requested, recipe_value = config["method"], config.get("d"), config["recipe"].get("d")
    config["d"] = config["recipe"]["d"] = None
    capacity = method.get("capacity")
    if capacity is None:
        said = f"d={requested} does not apply to method={method['name']}: it has no such capacity"
        return [said] if requested is not None else []
    chosen = (requested, method["config"].get(capacity), recipe_value)
    value = next((candidate for candidate in chosen if candidate is not None), None)
    if value is None:
        raise SpecError(["d=null: the recipe names no d for this method; accepted: an integer of at least 1"])
    method["config"][capacity] = value
    return []
