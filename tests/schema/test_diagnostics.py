from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from schema.diagnostics import Diagnostics, Encoding, Generations, Isometry, Landscape, NotMeasured

RESULTS = Path(__file__).resolve().parents[2] / "results"


def published() -> list[dict[str, Any]]:
    return [
        json.loads(path.read_text(encoding="utf-8"))["diagnostics"] for path in sorted(RESULTS.rglob("record.json"))
    ]


def test_every_published_diagnostic_is_read_as_what_it_is() -> None:
    found = [Diagnostics.model_validate(values) for values in published()]
    isometries = [part.isometry for part in found if part.isometry is not None]
    landscapes = [part.landscape for part in found if part.landscape is not None]
    assert (len(isometries), len(landscapes)) == (22, 18)
    assert {type(part) for part in isometries} == {Isometry, NotMeasured}
    assert {type(part) for part in landscapes} == {Landscape, NotMeasured}
    sequences = [part.sequences for part in found if part.sequences]
    assert len(sequences) == 45
    assert {type(value) for part in sequences for value in part.values()} == {Encoding, Generations, int}


def test_what_a_record_says_comes_out_as_it_went_in() -> None:
    for values in published():
        assert Diagnostics.model_validate(values).model_dump(exclude_unset=True) == values


@pytest.mark.parametrize(
    "change", [{"status": "measured"}, {"status": "lost"}, {"reason": None}, {"ratios": {}}, {"seconds": "1"}]
)
def test_a_diagnostic_that_was_not_measured_says_why_and_nothing_else(change: dict[str, object]) -> None:
    failed = {"status": "failed", "reason": "ValueError: x", "seconds": 1.5, "traceback": "traceback-isometry.txt"}
    assert isinstance(Diagnostics.model_validate({"isometry": failed}).isometry, NotMeasured)
    with pytest.raises(ValidationError):
        Diagnostics.model_validate({"isometry": failed | change})
