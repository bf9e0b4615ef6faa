"""The types of settings, each with the words for what it accepts."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Literal, get_args, get_origin

from pydantic import AfterValidator, Field, JsonValue, StringConstraints
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Accepts:
    """What a type accepts, in the words of an error message."""

    words: str


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("even")
    return value


def _interval(value: list[float]) -> list[float]:
    if not value[0] < value[1] or not all(map(math.isfinite, value)):
        raise ValueError("no interval")
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(str(error)) from error
    return value


Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*$"), Accepts("a text")]
Pattern = Annotated[str, StringConstraints(min_length=1), AfterValidator(_pattern), Accepts("a regular expression")]
Flag = Annotated[bool, Accepts("true or false")]
SeedValue = Annotated[int, Field(ge=0, le=2**32 - 1), Accepts("an integer from 0 to 4294967295")]
Count = Annotated[int, Field(ge=1), Accepts("an integer of at least 1")]
Several = Annotated[int, Field(ge=2), Accepts("an integer of at least 2")]
Odd = Annotated[int, Field(ge=3), AfterValidator(_odd), Accepts("an odd integer of at least 3")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), Accepts("a finite number above 0")]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), Accepts("a finite number of at least 0")]
Fraction = Annotated[float, Field(ge=0, le=1), Accepts("a number from 0 to 1")]
BelowOne = Annotated[float, Field(ge=0, lt=1), Accepts("a number of at least 0 and below 1")]
Share = Annotated[float, Field(gt=0, lt=1), Accepts("a number between 0 and 1")]
Names = Annotated[list[Text], Field(min_length=1), Accepts("a list of texts")]
NamesOrNone = Annotated[list[Text], Accepts("a list of texts, which may be empty")]
Options = Annotated[dict[str, JsonValue], Accepts("a mapping of options")]
Texts = Annotated[dict[str, Text], Accepts("a mapping of texts")]


Interval = Annotated[
    list[float], Field(min_length=2, max_length=2), AfterValidator(_interval), Accepts("[LEAST, LARGEST]")
]


def accepted(field: FieldInfo) -> str:
    """What a field accepts, in words."""
    own = [item.words for item in field.metadata if isinstance(item, Accepts)]
    return own[-1] if own else _words(field.annotation)


def _words(kind: object) -> str:
    if kind in (None, NoneType):
        return "null"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is Annotated:
        kind, *metadata = get_args(kind)
        own = [item.words for item in metadata if isinstance(item, Accepts)]
        return own[-1] if own else _words(kind)
    if get_origin(kind) is list:
        return f"a list of {_words(get_args(kind)[0])}"
    parts = [_words(part) for part in get_args(kind)]
    if not parts:
        return f"a {getattr(kind, '__name__', kind)}"
    return ", or ".join(parts)
