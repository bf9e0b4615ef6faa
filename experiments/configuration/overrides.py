"""What is typed on the command line, checked whole before Hydra composes it.

Hydra stops at the first unknown group option or key; here every wrong override is named at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from experiments.configuration.command_line import CommandLine
from experiments.configuration.groups import CONF, further_folders, groups, options, searched
from experiments.configuration.resolvers import columns
from experiments.configuration.spec import parse
from experiments.errors import SpecError
from experiments.families import spec_of
from schema import validation

__all__ = ["CONF", "needless", "options", "override_errors", "spelled"]


def override_errors(arguments: Iterable[str]) -> list[str]:
    """Every wrong override among the command line's arguments, one line each; flags (`-m`, `--cfg`) are Hydra's."""
    line = CommandLine.of(arguments)
    if line.sweep and line.has("--cfg", "-c", "--info", "-i", "--run", "-r"):
        return ["--multirun (-m): with --cfg, --info or --run, each of which is of one run; accepted: one of them"]
    folder = line.config_dir
    if folder is not None and not folder.is_dir():
        return [f"--config-dir={folder}: no such folder; accepted: an existing folder"]
    with searched(folder):
        return _errors(line)


def spelled(word: str) -> str:
    """An override in Hydra's spelling, in which a key that a YAML file leaves at its default needs a ++."""
    override = OverridesParser.create().parse_override(word)
    group = override.key_or_group in groups() or override.key_or_group.startswith("hydra")
    return word if group or _prefixed(override) else f"++{word}"


def _prefixed(override: Override) -> bool:
    return bool(override.is_add() or override.is_force_add() or override.is_delete())


def needless(word: str) -> bool:
    """Whether an override chooses nothing from a group that a run can do without, which Hydra does not understand."""
    group, _, value = word.partition("=")
    return value == "null" and groups().get(group, False)


def _errors(line: CommandLine) -> list[str]:
    errors, good = [], []
    for word in (word for word in line.overrides if not needless(word)):
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException as error:
            errors.append(f"{word}: not an override ({str(error).splitlines()[0]}); accepted: key=value")
            continue
        wrong = _group_errors(override) + _several_values(override, line.sweep)
        errors += wrong
        if not wrong:
            good.append(override)
    return errors + _value_errors(good, line.sweep)


def _values(override: Override) -> list[Any]:
    if override.is_sweep_override():
        return [value.strip("'\"") for value in override.sweep_string_iterator()]
    value = override.value()
    return value if isinstance(value, list) else [value]


def _several_values(override: Override, sweep: bool) -> list[str]:
    if not override.is_sweep_override():
        return []
    if sweep:
        empty = f"{override.input_line}: a sweep over no value; accepted: at least one"
        return [] if _values(override) else [empty]
    return [f"{override.input_line}: several values for one run; accepted: one, or --multirun (-m) for a run of each"]


def _group_errors(override: Override) -> list[str]:
    group = override.key_or_group
    if group not in groups() or override.is_delete():
        return []
    choices = options(group)
    return [
        f"{group}={value or 'null'}: unknown {group}{validation.nearest(value, choices)}; accepted: {_list(choices)}"
        for value in _values(override)
        if value not in choices
    ]


def _value_errors(overrides: list[Override], sweep: bool) -> list[str]:
    """Unknown keys; and, for a single run, what the whole configuration says to the values."""
    chosen = [o for o in overrides if o.key_or_group in groups()]
    keys = [o for o in overrides if o not in chosen and not o.key_or_group.startswith("hydra")]
    composed = _composed([str(o.input_line) for o in chosen if not o.is_sweep_override()])
    if isinstance(composed, str):
        return [composed]
    accepted = validation.keys(spec_of(str(OmegaConf.select(composed, "task.family"))))
    known = [o for o in keys if _prefixed(o) or o.key_or_group in accepted or _exists(composed, o.key_or_group)]
    errors = [
        f"{key}: unknown key{validation.nearest(key, accepted)}; accepted: {_list(_siblings(composed, key))}"
        for key in (o.key_or_group for o in keys if o not in known)
    ]
    wrong_columns = _column_errors(chosen, str(OmegaConf.select(composed, "task.name")))
    if sweep or wrong_columns:
        return wrong_columns + errors
    return errors + _parse_errors(composed, known)


def _parse_errors(composed: DictConfig, known: list[Override]) -> list[str]:
    """What the whole configuration says to values set in it."""
    # Set here rather than composed again: composing takes a tenth of a second.
    for override in known:
        if not override.is_delete():
            OmegaConf.update(composed, override.key_or_group, override.value(), force_add=True)
    try:
        parse(composed)
    except SpecError as error:
        return error.errors
    return []


def _column_errors(chosen: list[Override], task: str) -> list[str]:
    """A recipe asked for by name that has no column for a task asked for."""
    values = {override.key_or_group: _values(override) for override in chosen}
    pairs = product(values.get("recipe", []), values.get("task", [task]))
    return [
        f"recipe={recipe}: no column for task={name}; accepted: recipe=default, or task={', '.join(tasks)}"
        for recipe, name in pairs
        if (tasks := columns(recipe)) and name not in tasks
    ]


def _composed(lines: list[str]) -> DictConfig | str:
    further = ",".join(f"'file://{_escaped(str(folder))}'" for folder in further_folders())
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", [f"hydra.searchpath=[{further}]", *lines])
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        return " ".join(str(error).split())


def _escaped(text: str) -> str:
    return text.replace("'", "\\'")


def _exists(config: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    container = OmegaConf.select(config, parent) if parent else config
    return isinstance(container, DictConfig) and name in container


def _siblings(config: DictConfig, key: str) -> list[str]:
    parent = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config
    return sorted(map(str, parent)) if isinstance(parent, DictConfig) else sorted(map(str, config))


def _list(choices: list[str], most: int = 24) -> str:
    if not choices:
        return "nothing, there is none"
    return ", ".join(choices[:most]) + (f", ... ({len(choices)} in all)" if len(choices) > most else "")
