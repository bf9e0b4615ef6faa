"""Validation of a whole configuration: every wrong key at once, each with what it would accept."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schema.marks import Section, holds_several, section_of
from schema.values import accepted


def errors(section: type[Section], values: object, prefix: str = "") -> list[str]:
    """One line for each key of a configuration that is missing, unknown, wrong, or at odds with another of its section.

    Args:
        section: the model.
        values: nested by section.
        prefix: the dotted key of the section, with a dot behind it; "" at the top.
    """
    given = values
    try:
        values = section.named(given)
    except ValueError as error:
        return [f"{prefix.rstrip('.')}={shown(given)}: {error}"]
    if not isinstance(values, Mapping):
        return [f"{prefix.rstrip('.')}={shown(values)}: not accepted; accepted: a mapping"]
    lines = _own_errors(section, values, prefix)
    for name, field in section.model_fields.items():
        inner = section_of(field)
        if inner is None or name not in values:
            continue
        value = values[name]
        several = value if holds_several(field) and isinstance(value, Mapping) else {"": value}
        for key, item in several.items():
            lines += errors(inner, item, f"{prefix}{name}.{key}." if key else f"{prefix}{name}.")
    return lines or [prefix + problem for problem in section.model_validate(values).problems()]


def _own_errors(section: type[Section], values: Mapping[str, object], prefix: str) -> list[str]:
    """The errors of a section's own values, those of the sections within it apart."""
    try:
        section.model_validate(values)
    except ValidationError as error:
        own = [detail for detail in error.errors(include_url=False) if not _is_inner(section, detail)]
        return list(dict.fromkeys(_line(section, detail, values, prefix) for detail in own))
    return []


def _is_inner(section: type[Section], detail: ErrorDetails) -> bool:
    """Whether an error is one of a section within this one, which is there."""
    field = section.model_fields.get(str(detail["loc"][0]))
    absent = detail["type"] == "missing" and len(detail["loc"]) == 1
    return field is not None and section_of(field) is not None and not absent


def _line(section: type[Section], detail: ErrorDetails, values: Mapping[str, object], prefix: str) -> str:
    name = str(detail["loc"][0])
    key = prefix + name
    if detail["type"] == "extra_forbidden":
        names = list(section.model_fields)
        return f"{key}: unknown key{nearest(name, names, prefix)}; accepted: {', '.join(names)}"
    field = section.model_fields[name]
    inner = section_of(field)
    words = "a mapping of sections" if inner else accepted(field)
    if detail["type"] == "missing" and len(detail["loc"]) == 1:
        return f"{key}: missing; accepted: {words}"
    return f"{key}={shown(values[name])}: not accepted; accepted: {words}"


def keys(section: type[Section], prefix: str = "") -> list[str]:
    """Every dotted key of a section and of those within it."""
    found = []
    for name, field in section.model_fields.items():
        inner = section_of(field)
        found.append(prefix + name)
        if inner is not None and not holds_several(field):
            found += keys(inner, f"{prefix}{name}.")
    return found


def key_of(line: str) -> str:
    """The key that one of the lines of `errors` is about."""
    return re.split("[=:]", line, maxsplit=1)[0]


def shown(value: object) -> str:
    """A value as it is typed on the command line; a text that reads as something else, or as nothing, in quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {shown(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return f'"{value}"' if isinstance(value, str) and _reads_otherwise(value) else str(value)


def _reads_otherwise(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in ("", "null", "true", "false")
    return True


def nearest(value: object, choices: Iterable[str], prefix: str = "") -> str:
    """The choice that was probably meant, with a prefix, as a remark; empty where none is near."""
    near = difflib.get_close_matches(str(value), list(choices), n=1)
    return f" (did you mean {prefix}{near[0]}?)" if near else ""
