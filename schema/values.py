"""The types of settings, each with the words for what it accepts."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

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


def _at_home(value: str) -> str:
    expanded = os.path.expanduser(value)  # noqa: PTH111  pathlib's raises for a user that there is not
    if expanded.startswith("~"):
        raise ValueError("no such user")
    return expanded


def _unsigned(value: Any) -> Any:
    """The value with no negative zero in it, which would make another run of the same."""
    if isinstance(value, dict):
        return {name: _unsigned(item) for name, item in value.items()}
    return value + 0.0 if isinstance(value, float) else value


_MOST = 2**31 - 1
"""What a count may be: more is a slip, and overflows somewhere in a library."""
_LARGEST = 1e30
"""What a number may be, so that float32 still holds its products with others."""

_NAME = r"\w[\w.+@-]*"
_NAME_WORDS = "letters, digits and . _ + @ -, the first a letter or digit"

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*$"), Accepts("a text")]
Name = Annotated[
    str, StringConstraints(max_length=100, pattern=f"^{_NAME}$"), Accepts(f"a name of at most 100 {_NAME_WORDS}")
]
TaskName = Annotated[
    str,
    StringConstraints(max_length=100, pattern=f"^{_NAME}(/{_NAME})*$"),
    Accepts(f"a name of at most 100 {_NAME_WORDS}, its parts joined by /"),
]
Folder = Annotated[Text, AfterValidator(_at_home), Accepts("a path, in which ~ or ~USER is the home of a user")]
Pattern = Annotated[str, StringConstraints(min_length=1), AfterValidator(_pattern), Accepts("a regular expression")]
Flag = Annotated[bool, Accepts("true or false")]
SeedValue = Annotated[int, Field(ge=0, le=2**32 - 1), Accepts("an integer from 0 to 4294967295")]
Count = Annotated[int, Field(ge=1, le=_MOST), Accepts(f"an integer from 1 to {_MOST}")]
Batch = Annotated[int, Field(ge=1, le=2**20), Accepts("an integer from 1 to 1048576")]
Several = Annotated[int, Field(ge=2, le=_MOST), Accepts(f"an integer from 2 to {_MOST}")]
Odd = Annotated[int, Field(ge=3, le=_MOST), AfterValidator(_odd), Accepts(f"an odd integer from 3 to {_MOST}")]
Positive = Annotated[float, Field(gt=0, le=_LARGEST), Accepts("a number above 0, at most 1e30")]
Epochs = Annotated[float, Field(gt=0, le=1e6), Accepts("a number above 0, at most 1000000")]
Seconds = Annotated[float, Field(gt=0, le=86400), Accepts("a number above 0, at most 86400")]
NotNegative = Annotated[float, Field(ge=0, le=_LARGEST), AfterValidator(_unsigned), Accepts("a number from 0 to 1e30")]
Fraction = Annotated[float, Field(ge=0, le=1), AfterValidator(_unsigned), Accepts("a number from 0 to 1")]
BelowOne = Annotated[float, Field(ge=0, lt=1), AfterValidator(_unsigned), Accepts("a number of at least 0 and below 1")]
Share = Annotated[float, Field(gt=0, lt=1), Accepts("a number between 0 and 1")]
Names = Annotated[list[Text], Field(min_length=1), Accepts("a list of texts")]
NamesOrNone = Annotated[list[Text], Accepts("a list of texts, which may be empty")]
Options = Annotated[dict[str, JsonValue], AfterValidator(_unsigned), Accepts("a mapping of options")]
Texts = Annotated[dict[str, Text], Accepts("a mapping of texts")]
Named = Annotated[dict[Name, Text], Accepts(f"a mapping of texts, whose keys are names of {_NAME_WORDS}")]
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
