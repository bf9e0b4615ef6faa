"""One word of the command line: what Hydra's grammar makes of it, and what to type where it makes nothing of it."""

from __future__ import annotations

import shlex
from itertools import islice
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from experiments.configuration.groups import groups, options
from experiments.errors import SpecError

_MOST = 10_000
"""So many values of one key at most: more is a slip, and would fill the memory before anything is said."""


def parsed(word: str) -> Override:
    """What Hydra's grammar makes of a word.

    Raises:
        SpecError: if it is none, saying how to quote it where that helps.
    """
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise SpecError([f"{word}: not an override ({reason}); accepted: key=value{_hint(word)}"]) from None
    if not override.key_or_group:
        raise SpecError([f"{word}: not an override (no key); accepted: key=value"])
    return override


def spelled(word: str) -> str:
    """A word in Hydra's spelling.

    There a key that a YAML file leaves at its default needs a ++, and a glob knows no choices below folders.
    """
    override = parsed(word)
    if isinstance(override.value(), Glob):
        return f"{override.get_key_element()}={','.join(values(override))}"
    group = override.key_or_group in groups() or override.key_or_group.startswith("hydra")
    return word if group or prefixed(override) else f"++{word}"


def prefixed(override: Override) -> bool:
    """Whether an override says by +, ++ or ~ what it does to its key."""
    return bool(override.is_add() or override.is_force_add() or override.is_delete())


def needless(word: str) -> bool:
    """Whether an override chooses nothing from a group that a run can do without, which Hydra does not understand."""
    group, _, value = word.partition("=")
    return value == "null" and groups().get(group, False)


def values(override: Override) -> list[Any]:
    """The values of an override: of a sweep each as text, of a glob the choices of its group."""
    value = override.value()
    if isinstance(value, Glob):
        return list(value.filter(options(override.key_or_group)))
    if override.is_sweep_override():
        return [item.strip("'\"") for item in islice(override.sweep_string_iterator(), _MOST + 1)]
    return [value]


def several_errors(override: Override, sweep: bool) -> list[str]:
    """Why an override cannot have the values that it has, where it has several or is a sweep over none."""
    word = override.input_line
    if not override.is_sweep_override():
        return []
    if not sweep:
        text = _hint(str(word)) if override.key_or_group not in groups() and "/" in str(word) else ""
        return [f"{word}: several values for one run; accepted: one{text}, or --multirun (-m) for a run of each"]
    if isinstance(override.value(), Glob) and override.key_or_group not in groups():
        return [f"{word}: no group, whose choices a glob picks from; accepted: values, as key=a,b"]
    if not override.is_discrete_sweep():
        return [f"{word}: has no end of values; accepted: key=a,b or key=range(a,b)"]
    if not (found := len(values(override))):
        return [f"{word}: a sweep over no value; accepted: at least one"]
    return [f"{word}: a sweep over more than {_MOST} values; accepted: fewer"] if found > _MOST else []


def _hint(word: str) -> str:
    """The word with its value in quotes, for the shell as well; empty where that is no override either."""
    key, _, value = word.partition("=")
    quoted = f'{key}="' + value.replace('"', r"\"") + '"'
    try:
        held = OverridesParser.create().parse_override(quoted).value()
    except HydraException:
        return ""
    return f" (as one text: {shlex.quote(quoted)})" if held == value else ""
