"""The models as tables of docs/RECORD.md: what a field holds, in the words that stand beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from schema.marks import Kind, Section, holds_several, section_of
from schema.validation import shown
from schema.values import accepted

_MARKER = re.compile(r"<!-- table: (?P<name>\S+) -->\n.*?<!-- end -->", re.DOTALL)
_WORDS: dict[object, str] = {
    **{str: "text", int: "int", float: "number", bool: "bool", NoneType: "null"},
    **{Any: "any value", JsonValue: "any value"},
}


def filled(text: str, table: Callable[[str], str]) -> str:
    """A document with every table made anew: what stands between `<!-- table: NAME -->` and `<!-- end -->`.

    Args:
        text: the document.
        table: gives the Markdown table of a name.
    """

    def replaced(match: re.Match[str]) -> str:
        return f"<!-- table: {match['name']} -->\n{table(match['name'])}\n<!-- end -->"

    return _MARKER.sub(replaced, text)


def names(text: str) -> list[str]:
    """The names of a document's tables, in its order."""
    return [match["name"] for match in _MARKER.finditer(text)]


def record_table(model: type[BaseModel]) -> str:
    """A part of a record: key, type and what it is."""
    fields = model.model_fields.items()
    lines = [(f"`{field.alias or name}`", type_words(field.annotation), _what(field)) for name, field in fields]
    return _markdown(("key", "type", "what"), lines)


def section_table(section: type[Section], base: type[Section] | None = None) -> str:
    """A section of the configuration: key, what is accepted, default, mark and what it is.

    Args:
        section: the section; those within it follow with dotted keys, but for sections of a whole run, which have
            tables of their own.
        base: keys that are the same in this section are left out, where a family adds to it.
    """
    known = [] if base is None else _settings(base)
    lines = [line for line in _settings(section) if line not in known]
    return _markdown(("key", "accepted", "default", "mark", "what"), lines)


def _settings(section: type[Section], prefix: str = "") -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for name, field in section.model_fields.items():
        inner = section_of(field)
        if inner is not None:
            within = f"{prefix}{name}.NAME." if holds_several(field) else f"{prefix}{name}."
            lines += [] if _is_run(section) else _settings(inner, prefix=within)
            continue
        default = "" if field.is_required() else _code(field.get_default(call_default_factory=True))
        mark = section.mark(name)
        changes = f"{mark.kind.value} {_code(mark.at)}" if mark.kind is Kind.NEUTRAL_AT else str(mark)
        lines.append((f"`{prefix}{name}`", accepted(field), default, changes, _what(field)))
    return lines


def _is_run(section: type[Section]) -> bool:
    """Whether a section is that of a whole run: it holds every other."""
    return {"method", "task", "recipe"} <= section.model_fields.keys()


def type_words(kind: object) -> str:
    """A type in words: `list of objects`, `number or null`."""
    if kind in _WORDS:
        return _WORDS[kind]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "object"
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return type_words(inner[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is list:
        return f"list of {_several(inner[0])}"
    if origin is dict:
        return f"object of {_several(inner[1])}"
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(type_words, inner)))
    raise TypeError(f"{kind}: no words for this type; accepted: those of JSON")


def _several(kind: object) -> str:
    """The plural of a type's words."""
    words = type_words(kind)
    return {"text": "texts", "int": "ints", "number": "numbers", "object": "objects", "any value": "any values"}.get(
        words, f"({words})" if " or " in words else words
    )


def _code(value: object) -> str:
    return f"`{shown(value)}`"


def _what(field: FieldInfo) -> str:
    return next((item for item in reversed(field.metadata) if isinstance(item, str)), "")


def _markdown(header: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> str:
    rows = [header, ("---",) * len(header), *([cell.replace("|", r"\|") for cell in line] for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
