"""From a method's `config`, as it stands in a YAML file or a record, to the object that `adapt` takes.

Nothing but the configuration of a method is ever called: of what `_target_` names, its module is imported, no more.
"""

from __future__ import annotations

import difflib
import inspect
import pkgutil
from collections.abc import Mapping

from peft import PeftConfig

from baselines.errors import MethodError
from baselines.options import refusal, value_errors
from baselines.selection import TrainableSelection

TARGET = "_target_"
_OWN = {TARGET, "_convert_"}
"""Keys that are no arguments of the class; Hydra's `_convert_` changes nothing here, where all values are plain."""

_ACCEPTED = "accepted: a subclass of peft.PeftConfig, or a class with selects(parameter_name), such as baselines.BitFit"


def config_errors(options: Mapping[str, object]) -> list[str]:
    """One line for a class that configures no method, or for each key or value that it does not have; calls nothing.

    Args:
        options: the class under `_target_`, and its arguments.
    """
    target = options.get(TARGET)
    kind = _class(target)
    if kind is None:
        return [f"method.config.{TARGET}={'null' if target is None else target}: configures no method; {_ACCEPTED}"]
    return _key_errors(kind, options) or value_errors(kind, options)


def _key_errors(kind: type, options: Mapping[str, object]) -> list[str]:
    arguments = inspect.signature(kind).parameters.values()
    missing = [a.name for a in arguments if a.default is a.empty and a.kind is a.POSITIONAL_OR_KEYWORD]
    if lines := [f"method.config.{name}: missing; accepted: a value" for name in missing if name not in options]:
        return lines
    if any(argument.kind is argument.VAR_KEYWORD for argument in arguments):
        return []
    accepted = [argument.name for argument in arguments]
    return [
        f"method.config.{name}: unknown key{_nearest(name, accepted)}; accepted: {', '.join(accepted) or 'none'}"
        for name in options
        if name not in {*_OWN, *accepted}
    ]


def method_config(options: Mapping[str, object]) -> PeftConfig | TrainableSelection:
    """The configuration that a method's options describe.

    Raises:
        MethodError: if `config_errors` finds something, or the class itself refuses a value.
    """
    kind = _class(options.get(TARGET))
    if errors := config_errors(options):
        raise MethodError("; ".join(errors))
    assert kind is not None
    given = {name: value for name, value in options.items() if name not in _OWN}
    try:
        return kind(**given)
    except ValueError as error:
        raise MethodError(refusal(given, error)) from error


def _class(target: object) -> type[PeftConfig] | type[TrainableSelection] | None:
    """The class of this full name; None if there is none, or it is no method's."""
    try:
        found = pkgutil.resolve_name(target) if isinstance(target, str) else None
    except (ImportError, AttributeError, ValueError):
        return None
    return found if isinstance(found, type) and issubclass(found, (PeftConfig, TrainableSelection)) else None


def _nearest(name: str, choices: list[str]) -> str:
    near = difflib.get_close_matches(name, choices, n=1)
    return f" (did you mean method.config.{near[0]}?)" if near else ""
