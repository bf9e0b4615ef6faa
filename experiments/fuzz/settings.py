"""Every key of a configuration with values of every type, range and shape."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping

from experiments.families import FAMILIES, spec_of
from experiments.fuzz.case import Case
from experiments.fuzz.expectations import ACCEPTED
from schema.validation import keys

VALUES: Mapping[str, object] = {
    "null": None,
    "''": "",
    "text": "text",
    "1": 1,
    "2": 2,
    "0": 0,
    "-1": -1,
    "'1'": "1",
    "0.5": 0.5,
    "1.5": 1.5,
    "true": True,
    "inf": math.inf,
    "-inf": -math.inf,
    "nan": math.nan,
    "1e400": math.inf,
    "-1e-9": -1e-9,
    str(10**30): 10**30,
    "[]": [],
    "[1]": [1],
    "[null]": [None],
    "[text]": ["text"],
    "['']": [""],
    "[[text]]": [["text"]],
    "{}": {},
    "{a:1}": {"a": 1},
    "{a:text}": {"a": "text"},
    "{a:{b:[1,{c:null}]}}": {"a": {"b": [1, {"c": None}]}},
    "'(['": "([",
    "'a b'": "a b",
    "'a\nb'": "a\nb",
    "é☃": "é☃",
    "../x": "../x",
    "'~'": "~",
    "x" * 5000: "x" * 5000,
}
"""Values as they are typed, and what they are."""

SMALL = (
    *("profile=embedded", "method=head", "logger=disabled", "isolation=none", "recipe.epochs=0.3"),
    *("data.train_rows=60", "data.test_rows=20", "round_trip=false", "outputs=outputs"),
)
"""A run of a second, of any family."""
TASKS: Mapping[str, tuple[str, ...]] = {
    "glue": ("task=glue/rte",),
    "vision": ("task=vision/digits",),
    "math": ("method=lora", "task=math/gsm8k", "task.max_new_tokens=4"),
}
"""The generated task of each family."""
_TRAINED = 8
"""One in so many settings that are right is trained with; the others are planned."""
_COSTLY = ("resume", "rerun")


def cases(generator: random.Random) -> Iterator[Case]:
    """A case for each key and value, in the generator's order."""
    tried = [(family, key, value) for family in FAMILIES for key in _own(family) for value in VALUES]
    generator.shuffle(tried)
    for family, key, value in tried:
        right = ACCEPTED[key](VALUES[value])
        planned = () if right and generator.randrange(_TRAINED) == 0 else ("plan=true",)
        words = (*SMALL, *TASKS[family], *planned, f"{key}={value}")
        yield Case("keys", words, "either" if right else "refused")


def _own(family: str) -> list[str]:
    """A family's own keys; those that all families have are tried with one of them."""
    found = keys(spec_of(family))
    return found if family == FAMILIES[0] else [key for key in found if key not in keys(spec_of(FAMILIES[0]))]
