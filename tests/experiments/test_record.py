from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from experiments.records import record
from experiments.records.status import status

KEY = {
    "task": "glue/sst2",
    "source": "local",
    "subset": "full",
    "backbone": "tiny",
    "protocol": "heldout",
    "track": "published",
}


def write(folder: Path, outcome: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    result = record.blank("0123456789ab", KEY, {"seeds": {"head": 0}})
    record.write_json(folder / "record.json", {**result, "outcome": outcome})


def test_numbers_that_json_has_no_text_for_become_null(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    record.write_json(path, {"loss": math.nan, "steps": [{"loss": math.inf}], "score": 0.5})
    assert json.loads(path.read_text()) == {"loss": None, "steps": [{"loss": None}], "score": 0.5}


def test_a_record_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    record.write_json(path, {"value": 1})
    with pytest.raises(TypeError):
        record.write_json(path, {"value": object()})
    assert json.loads(path.read_text()) == {"value": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize(("outcome", "done"), [("ok", True), ("diverged", True), ("error", False)])
def test_only_ok_and_diverged_count_as_done(tmp_path: Path, outcome: str, done: bool) -> None:
    write(tmp_path, outcome)
    assert record.is_done(record.read(tmp_path)) is done


def test_what_is_set_aside_is_kept_and_not_read_twice(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path, "ok")
        (tmp_path / "checkpoint").mkdir()
        (tmp_path / "checkpoint" / "weights").write_text(str(number))
        record.set_aside(tmp_path)
    assert record.read(tmp_path) is None
    assert not list(tmp_path.rglob("record.json"))
    assert [(tmp_path / "previous" / n / "checkpoint" / "weights").read_text() for n in "12"] == ["1", "2"]


def test_an_attempt_is_alive_until_its_heartbeat_stops(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with record.Attempt(folder, "0123456789ab", KEY):
        text, done = status(tmp_path)
        assert text.splitlines()[-1] == "1 running"
        assert not done
    attempt = json.loads((folder / "attempt.json").read_text())
    attempt["heartbeat"] = "2020-01-01T00:00:00+00:00"
    record.write_json(folder / "attempt.json", attempt)
    assert status(tmp_path)[0].splitlines()[-1] == "1 cut off"


def test_status_counts_every_outcome_and_says_whether_all_is_done(tmp_path: Path) -> None:
    write(tmp_path / "a", "ok")
    write(tmp_path / "b", "diverged")
    assert status(tmp_path)[1]
    write(tmp_path / "c", "out_of_memory")
    text, done = status(tmp_path)
    assert text.splitlines()[-1] == "1 diverged, 1 ok, 1 out_of_memory"
    assert not done
