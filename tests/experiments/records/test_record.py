from __future__ import annotations

import errno
import json
import math
from pathlib import Path

import pytest

from experiments.configuration.identity import cell_key
from experiments.configuration.spec import stored
from experiments.records import lock, record
from experiments.records.status import status
from schema.identity import covered, run_id
from schema.plan import Plan
from schema.record import OUTCOMES, Identity, Outcome
from tests.experiments.runs import spec_of


@pytest.fixture(scope="module")
def plan() -> Plan:
    spec = spec_of("task=glue/sst2", "method=head")
    identity = Identity(hashed=covered(spec, {"version": 1}, {"recipe": "none"}))
    key = cell_key(spec, "full")
    return Plan(id=run_id(identity.hashed), identity=identity, key=key, config=spec.model_dump(mode="json"))


def write(folder: Path, plan: Plan, outcome: Outcome) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    result = record.blank(plan)
    result.outcome = outcome
    record.write(folder / "record.json", result)


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


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_run_without_an_end_of_its_own_is_not_done(tmp_path: Path, plan: Plan, outcome: Outcome) -> None:
    write(tmp_path, plan, outcome)
    result = record.read(tmp_path)
    assert result is not None
    assert result.is_done is (outcome in ("ok", "diverged", "broken_round_trip"))


def test_a_record_is_read_as_it_was_written(tmp_path: Path, plan: Plan) -> None:
    write(tmp_path, plan, "ok")
    result = record.read(tmp_path)
    assert result is not None
    assert stored(result.config.model_dump(mode="json")).model_dump(mode="json") == plan.config
    record.write(tmp_path / "again.json", result)
    assert (tmp_path / "again.json").read_text() == (tmp_path / "record.json").read_text()


def test_an_attempt_is_alive_while_its_lock_is_held(tmp_path: Path, plan: Plan) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with lock.held(folder):
        with record.Attempt(folder, plan):
            text, done = status(tmp_path)
            assert text.splitlines()[-1] == "1 running"
            assert not done
        attempt = json.loads((folder / "attempt.json").read_text())
        attempt["heartbeat"] = "2020-01-01T00:00:00+00:00"
        record.write_json(folder / "attempt.json", attempt)
        assert status(tmp_path)[0].splitlines()[-1] == "1 running", "whatever the clocks say"
    assert status(tmp_path)[0].splitlines()[-1] == "1 cut off"


def test_what_cannot_be_written_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "record.json").write_text("before")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        record.write_json(tmp_path / "record.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
    assert (tmp_path / "record.json").read_text() == "before"


def test_status_counts_every_outcome_and_says_whether_all_is_done(tmp_path: Path, plan: Plan) -> None:
    write(tmp_path / "a", plan, "ok")
    write(tmp_path / "b", plan, "diverged")
    write(tmp_path / "d", plan, "broken_round_trip")
    assert status(tmp_path)[1]
    write(tmp_path / "c", plan, "out_of_memory")
    text, done = status(tmp_path)
    assert text.splitlines()[-1] == "1 broken_round_trip, 1 diverged, 1 ok, 1 out_of_memory"
    assert not done
