"""What is typed on the command line, checked whole before Hydra composes it.

Hydra stops at the first unknown group option or key; here every wrong override is named at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from experiments.configuration.spec import parse
from experiments.errors import SpecError
from experiments.families import spec_of
from schema import validation

_FLAGS_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--info", "-i")
"""Hydra's flags that are followed by a word of their own."""

CONF = Path(__file__).resolve().parents[2] / "conf"


def options(group: str) -> list[str]:
    """The choices of a config group: the YAML files below conf/GROUP, without their suffix.

    A name that begins with an underscore is a part that others include, not a choice.
    """
    folder = CONF / group
    files = (path for path in folder.rglob("*.yaml") if not path.name.startswith("_"))
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in files)


def override_errors(arguments: Iterable[str]) -> list[str]:
    """Every wrong override among the command line's arguments, one line each; flags (`-m`, `--cfg`) are Hydra's."""
    given = list(arguments)
    options_values = {place + 1 for place, word in enumerate(given) if word in _FLAGS_WITH_VALUE}
    words = [word for place, word in enumerate(given) if not word.startswith("-") and place not in options_values]
    sweep = any(word in ("-m", "--multirun") for word in given)
    errors, good = [], []
    for word in words:
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException as error:
            errors.append(f"{word}: not an override ({str(error).splitlines()[0]}); accepted: key=value")
            continue
        wrong = _group_errors(override)
        errors += wrong
        if not wrong:
            good.append(override)
    return errors + _value_errors(good, sweep)


def _values(override: Override) -> list[Any]:
    if override.is_sweep_override():
        return [value.strip("'\"") for value in override.sweep_string_iterator()]
    value = override.value()
    return value if isinstance(value, list) else [value]


def _group_errors(override: Override) -> list[str]:
    group = override.key_or_group
    if not (CONF / group).is_dir() or override.is_delete():
        return []
    choices = options(group)
    wrong = [value for value in _values(override) if value not in choices and value is not None]
    return [
        f"{group}={value}: unknown {group}{_nearest(value, choices)}; accepted: {_list(choices)}" for value in wrong
    ]


def _value_errors(overrides: list[Override], sweep: bool) -> list[str]:
    """Unknown keys; and, for a single run, what the whole configuration says to the values."""
    groups = [o for o in overrides if (CONF / o.key_or_group).is_dir()]
    keys = [o for o in overrides if o not in groups and not o.key_or_group.startswith("hydra")]
    composed = _composed([str(o.input_line) for o in groups if not o.is_sweep_override()])
    if isinstance(composed, str):
        return [composed]
    known = [o for o in keys if o.is_add() or o.is_force_add() or o.is_delete() or _exists(composed, o.key_or_group)]
    accepted = validation.keys(spec_of(str(OmegaConf.select(composed, "task.family"))))
    errors = [
        f"{key}: unknown key{_nearest(key, accepted)}; accepted: {_list(_siblings(composed, key))}"
        for key in (o.key_or_group for o in keys if o not in known)
    ]
    if not sweep:
        # Set here rather than composed again: composing takes a tenth of a second.
        for override in known:
            if not override.is_delete():
                OmegaConf.update(composed, override.key_or_group, override.value(), force_add=True)
        try:
            parse(composed)
        except SpecError as error:
            errors += error.errors
    return errors


def _composed(lines: list[str]) -> DictConfig | str:
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", lines)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        return " ".join(str(error).split())


def _exists(config: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    container = OmegaConf.select(config, parent) if parent else config
    return isinstance(container, DictConfig) and name in container


def _siblings(config: DictConfig, key: str) -> list[str]:
    parent = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config
    return sorted(map(str, parent)) if isinstance(parent, DictConfig) else sorted(map(str, config))


def _nearest(value: Any, choices: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(value), list(choices), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _list(choices: list[str], most: int = 24) -> str:
    return ", ".join(choices[:most]) + (f", ... ({len(choices)} in all)" if len(choices) > most else "")
