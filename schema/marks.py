"""What changing a setting means for a result: one mark on every field of a section, or the section does not import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


class Kind(Enum):
    """What a change of a setting changes."""

    RESULT = "changes the result"
    REFERENCE = "reference to data or weights"
    WHERE = "where it ran"
    SEED = "seed"
    NEUTRAL = "neutral"
    NEUTRAL_AT = "neutral at"


@dataclass(frozen=True)
class Mark:
    """The mark of one field.

    Attributes:
        kind: what a change of the field changes.
        at: of `NEUTRAL_AT`, the value at which the field changes nothing, so that it can be added to a section without
            changing the identity of the runs before it.
    """

    kind: Kind
    at: object = None

    def hashes(self, value: object) -> bool:
        """Whether a field of this value is part of a run's identity.

        What a reference points to is hashed in its place: contents and commits, not names and paths.
        """
        if self.kind is Kind.NEUTRAL_AT:
            return value != self.at
        return self.kind in (Kind.RESULT, Kind.SEED)

    def __str__(self) -> str:
        return f"{self.kind.value} {self.at}" if self.kind is Kind.NEUTRAL_AT else self.kind.value


RESULT = Mark(Kind.RESULT)
REFERENCE = Mark(Kind.REFERENCE)
WHERE = Mark(Kind.WHERE)
SEED = Mark(Kind.SEED)
NEUTRAL = Mark(Kind.NEUTRAL)


def neutral_at(value: object) -> Mark:
    """The mark of a field that changes nothing at this one value."""
    return Mark(Kind.NEUTRAL_AT, value)


class Section(BaseModel):
    """A section of a run's configuration: typed, frozen, and without keys that it does not know.

    A field is either a section itself or carries exactly one mark.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Refuse a field without a mark, or with two.

        Raises:
            TypeError: naming the field.
        """
        for name, field in cls.model_fields.items():
            marks = [item for item in field.metadata if isinstance(item, Mark)]
            if section_of(field) is None and len(marks) != 1:
                raise TypeError(f"{cls.__name__}.{name} has {len(marks)} marks; accepted: exactly one of schema.marks")

    @classmethod
    def mark(cls, name: str) -> Mark:
        """The mark of a field."""
        return next(item for item in cls.model_fields[name].metadata if isinstance(item, Mark))

    @classmethod
    def named(cls, name: object) -> object:
        """What a name stands for, where a section can be given by one; anything else stays as it is.

        Raises:
            ValueError: if there is no such name, saying which there are.
        """
        return name

    def problems(self) -> list[str]:
        """One line for each value that does not go with another of this section; each begins with its key in it."""
        return []


def section_of(field: FieldInfo) -> type[Section] | None:
    """The section that a field holds, alone or several by name; None where it holds a value."""
    kind = field.annotation
    if get_origin(kind) is dict:
        kind = get_args(kind)[1]
    kind = getattr(kind, "__bound__", None) or kind  # a type variable stands for the sections of a family
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def holds_several(field: FieldInfo) -> bool:
    """Whether a field holds sections by name, rather than one."""
    return get_origin(field.annotation) is dict


def hashed(section: type[Section], values: Mapping[str, object]) -> dict[str, object]:
    """The values of a section that are part of a run's identity, nested as they are; what it does not know counts.

    Args:
        section: what the marks are read from.
        values: of a run or of a record, by key.
    """
    parts: dict[str, object] = {}
    for name, value in values.items():
        field = section.model_fields.get(name)
        inner = section_of(field) if field is not None else None
        if field is not None and inner is not None and isinstance(value, Mapping):
            several = holds_several(field)
            kept = {key: hashed(inner, item) for key, item in value.items()} if several else hashed(inner, value)
            if kept:
                parts[name] = kept
        elif field is None or inner is not None or section.mark(name).hashes(value):
            parts[name] = value
    return parts
