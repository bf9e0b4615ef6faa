"""What `run.py` does where something else stands in the place of a run's record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.errors import RunFailed
from experiments.records import record
from schema.record import Record
from tests.experiments.runs import folder_of, recorded


def test_a_damaged_record_is_kept_and_the_run_made_again(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*tiny, "method=head", "task=glue/sst2"]
    first = recorded(*overrides)
    path = folder_of(tmp_path / "outputs", first.id) / "record.json"
    damaged = path.read_text().replace('"outcome": "ok"', '"outcome": "error"')
    path.write_text(damaged)
    capsys.readouterr()
    again = recorded(*overrides)
    assert (again.id, again.outcome, again.metrics) == (first.id, "ok", first.metrics)
    assert f"note: {path}: digest=" in capsys.readouterr().out
    assert (path.parent / "previous" / "1" / "previous-record.json").read_text() == damaged
    assert isinstance(record.read(path.parent), Record)


def test_a_record_of_a_later_version_is_left_as_it_is(tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "method=head", "task=glue/sst2"]
    path = folder_of(tmp_path / "outputs", recorded(*overrides).id) / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    before = {file: file.stat().st_mtime_ns for file in path.parent.rglob("*") if file.name != "lock"}
    with pytest.raises(
        RunFailed, match=r"record\.json: schema=99: of a later version of the suite; accepted: 1, 2; it"
    ):
        recorded(*overrides)
    assert {file: file.stat().st_mtime_ns for file in path.parent.rglob("*") if file.name != "lock"} == before
