"""What is typed on the command line, checked whole before Hydra composes it.

Hydra stops at the first unknown group option or key; here every wrong override is named at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from experiments.configuration.command_line import CommandLine
from experiments.configuration.groups import CONF, PRIMARY, further_folders, groups, options, searched
from experiments.configuration.resolvers import columns
from experiments.configuration.spec import parse
from experiments.configuration.words import needless, parsed, prefixed, several_errors, values
from experiments.errors import SpecError
from experiments.families import spec_of
from schema import validation

__all__ = ["CONF", "options", "override_errors"]


def override_errors(arguments: Iterable[str]) -> list[str]:
    """Every wrong word among the command line's arguments, one line each."""
    line = CommandLine.of(arguments)
    if errors := line.errors():
        return errors
    with searched(*line.folders):
        return _errors(line)


def _errors(line: CommandLine) -> list[str]:
    errors: list[str] = []
    good: list[Override] = []
    unread: list[str] = []
    for word in (word for word in line.overrides if not needless(word)):
        try:
            override = parsed(word)
        except SpecError as error:
            errors += error.errors
            unread.append(word.lstrip("+~").partition("=")[0])
            continue
        if wrong := several_errors(override, line.sweep) or _group_errors(override):
            errors += wrong
            unread.append(override.key_or_group)
        else:
            good.append(override)
    return errors + [said for said in _value_errors(good, line) if validation.key_of(said) not in unread]


def _group_errors(override: Override) -> list[str]:
    group = override.key_or_group
    if group not in groups() or (override.is_delete() and groups()[group]):
        return []
    choices = options(group)
    if override.is_delete():
        return [f"{override.input_line}: a run needs a {group}; accepted: {_list(choices)}"]
    return [
        f"{group}={validation.shown(value)}: unknown {group}{validation.nearest(value, choices)}; "
        f"accepted: {_list(choices)}"
        for value in values(override)
        if value not in choices
    ]


def _value_errors(overrides: list[Override], line: CommandLine) -> list[str]:
    """Unknown keys; and, for a single run, what the whole configuration says to the values."""
    chosen = [o for o in overrides if o.key_or_group in groups()]
    keys = [o for o in overrides if o not in chosen and not o.key_or_group.startswith("hydra")]
    composed = _composed([str(o.input_line) for o in chosen if not o.is_sweep_override()], line.config_name)
    if isinstance(composed, str):
        return [composed]
    accepted = validation.keys(spec_of(str(OmegaConf.select(composed, "task.family"))))
    known = [o for o in keys if _is_known(o, composed, accepted)]
    errors = [
        f"{key}: unknown key{validation.nearest(key, accepted)}; accepted: {_list(_siblings(composed, accepted, key))}"
        for key in (o.key_or_group for o in keys if o not in known)
    ]
    wrong_columns = _column_errors(chosen, str(OmegaConf.select(composed, "task.name")))
    if line.sweep or wrong_columns:
        return wrong_columns + errors
    return errors + _parse_errors(composed, known)


def _is_known(override: Override, composed: DictConfig, accepted: list[str]) -> bool:
    """Whether a key is there, or is left to the check of the whole; what is deleted has to be there."""
    key = override.key_or_group
    if override.is_delete():
        return _exists(composed, key)
    # The keys of a method's configuration are those of its class, which is asked later.
    return prefixed(override) or key in accepted or key.startswith("method.config.") or _exists(composed, key)


def _parse_errors(composed: DictConfig, known: list[Override]) -> list[str]:
    """What the whole configuration says to values set in it."""
    for override in known:
        if error := _set(composed, override):
            return [error]
    try:
        parse(composed)
    except SpecError as error:
        return error.errors
    return []


def _set(composed: DictConfig, override: Override) -> str | None:
    """Do to a configuration what Hydra will, save that composing it anew takes a tenth of a second.

    A mapping in place of a list or a list in place of a mapping is for the check of the whole to refuse.
    """
    key, value = override.key_or_group, override.value()
    parent, _, name = key.rpartition(".")
    container = OmegaConf.select(composed, parent) if parent else composed
    if override.is_delete():
        with open_dict(container):
            del container[name]
        return None
    merge = isinstance(value, dict) and _exists(composed, key) and OmegaConf.is_dict(container._get_node(name))
    try:
        OmegaConf.update(composed, key, value, merge=merge, force_add=True)
    except OmegaConfBaseException as error:
        return f"{override.input_line}: {str(error).splitlines()[0]}; accepted: a value that Hydra can set there"
    return None


def _column_errors(chosen: list[Override], task: str) -> list[str]:
    """A recipe asked for by name that has no column for a task asked for."""
    asked = {override.key_or_group: values(override) for override in chosen if not override.is_delete()}
    pairs = product(asked.get("recipe", []), asked.get("task", [task]))
    return [
        f"recipe={recipe}: no column for task={name}; accepted: recipe=default, or task={', '.join(tasks)}"
        for recipe, name in pairs
        if (tasks := columns(recipe)) and name not in tasks
    ]


def _composed(lines: list[str], name: str | None) -> DictConfig | str:
    folders = [CONF, *further_folders()]
    primary = next(folder for folder in folders if (folder / f"{name or PRIMARY}.yaml").is_file())
    further = ",".join(f"'file://{_escaped(str(folder))}'" for folder in folders if folder != primary)
    try:
        with initialize_config_dir(str(primary), version_base="1.3"):
            return compose(name or PRIMARY, [f"hydra.searchpath=[{further}]", *lines])
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        return composition_error(" ".join(lines), error)


def composition_error(words: str, error: Exception) -> str:
    """What Hydra refuses of the overrides `words`, in a line."""
    reason = " ".join(str(error).split())
    return f"{words or 'configuration'}: {reason}; accepted: what Hydra can compose of the files in conf/ and yours"


def _escaped(text: str) -> str:
    return text.replace("'", "\\'")


def _exists(config: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    container = OmegaConf.select(config, parent) if parent else config
    return isinstance(container, DictConfig) and name in container


def _siblings(config: DictConfig, accepted: list[str], key: str) -> list[str]:
    """The keys beside an unknown one; those at the top where it is in no section."""
    parent = key.rpartition(".")[0]
    within = OmegaConf.select(config, parent) if parent else config
    if not isinstance(within, DictConfig):
        parent, within = "", config
    named = {name.rpartition(".")[2] for name in accepted if name.rpartition(".")[0] == parent}
    return sorted({*map(str, within), *named})


def _list(choices: list[str], most: int = 24) -> str:
    if not choices:
        return "nothing, there is none"
    return ", ".join(choices[:most]) + (f", ... ({len(choices)} in all)" if len(choices) > most else "")
