from __future__ import annotations

from typing import Annotated, Literal

import pytest

from schema.marks import RESULT, Section
from schema.validation import errors
from schema.values import Count, Flag, Odd, Pattern, Positive, Text


class Part(Section):
    size: Annotated[Count, RESULT]
    flag: Annotated[Flag, RESULT] = False

    def problems(self) -> list[str]:
        return ["size=13: not with flag=true; accepted: any other"] if self.flag and self.size == 13 else []


class Whole(Section):
    rate: Annotated[Positive | None, RESULT]
    kind: Annotated[Literal["linear", "cosine"], RESULT]
    modules: Annotated[list[Text] | Pattern, RESULT]
    points: Annotated[Odd, RESULT] = 3
    part: Part


def values(**changed: object) -> dict[str, object]:
    return {"rate": 0.1, "kind": "linear", "modules": ["query"], "part": {"size": 3}, **changed}


def test_right_values_have_no_errors() -> None:
    assert errors(Whole, values()) == []
    assert errors(Whole, values(rate=None, modules="a|b", points=5)) == []


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"rate": 0}, "rate=0: not accepted; accepted: a number above 0, at most 1e30, or null"),
        ({"rate": float("inf")}, "rate=inf: not accepted; accepted: a number above 0, at most 1e30, or null"),
        ({"rate": True}, "rate=true: not accepted; accepted: a number above 0, at most 1e30, or null"),
        ({"rate": "0.1"}, 'rate="0.1": not accepted; accepted: a number above 0, at most 1e30, or null'),
        ({"kind": "cubic"}, "kind=cubic: not accepted; accepted: one of linear, cosine"),
        ({"modules": "(["}, "modules=([: not accepted; accepted: a list of a text, or a regular expression"),
        (
            {"modules": ["query", 1]},
            "modules=[query, 1]: not accepted; accepted: a list of a text, or a regular expression",
        ),
        ({"points": 4}, "points=4: not accepted; accepted: an odd integer from 3 to 2147483647"),
        ({"part": {"size": 1.5}}, "part.size=1.5: not accepted; accepted: an integer from 1 to 2147483647"),
        ({"part": 3}, "part=3: not accepted; accepted: a mapping"),
        ({"part": {}}, "part.size: missing; accepted: an integer from 1 to 2147483647"),
        ({"part": {"size": 3, "flg": True}}, "part.flg: unknown key (did you mean part.flag?); accepted: size, flag"),
        ({"part": {"size": 13, "flag": True}}, "part.size=13: not with flag=true; accepted: any other"),
    ],
)
def test_a_wrong_value_is_one_line(changed: dict[str, object], line: str) -> None:
    assert errors(Whole, values(**changed)) == [line]


def test_everything_wrong_is_told_at_once() -> None:
    lines = errors(Whole, {"rate": -1, "kind": None, "part": {"size": 0, "flag": 2}, "extra": 1})
    assert [line.split(":")[0].split("=")[0] for line in lines] == [
        "rate",
        "kind",
        "modules",
        "extra",
        "part.size",
        "part.flag",
    ]
