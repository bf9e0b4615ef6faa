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
from schema.folder import Fault
from schema.identity import covered, run_id
from schema.plan import Plan
from schema.record import OUTCOMES, Identity, Metrics, Outcome, Record
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
    result.metrics = Metrics(selection={"accuracy": 0.5}, test={"accuracy": 0.5})
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
    result = record.written(tmp_path)
    assert result.is_done is (outcome in ("ok", "diverged", "broken_round_trip"))


def test_a_record_is_read_as_it_was_written(tmp_path: Path, plan: Plan) -> None:
    write(tmp_path, plan, "ok")
    result = record.written(tmp_path)
    assert stored(result.config.model_dump(mode="json")).model_dump(mode="json") == plan.config
    record.write(tmp_path / "again.json", result)
    assert (tmp_path / "again.json").read_text() == (tmp_path / "record.json").read_text()


def test_an_attempt_is_alive_while_its_lock_is_held(tmp_path: Path, plan: Plan) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with lock.held(folder):
        with record.Attempt(folder, plan):
            found = status(tmp_path)
            assert found.text.splitlines()[-1] == "1 running"
            assert not found.is_done
        attempt = json.loads((folder / "attempt.json").read_text())
        attempt["heartbeat"] = "2020-01-01T00:00:00+00:00"
        record.write_json(folder / "attempt.json", attempt)
        assert status(tmp_path).text.splitlines()[-1] == "1 running", "whatever the clocks say"
    assert status(tmp_path).text.splitlines()[-1] == "1 cut off"


def test_what_cannot_be_written_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "record.json").write_text("before")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        record.write_json(tmp_path / "record.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
    assert (tmp_path / "record.json").read_text() == "before"


def recorded(folder: Path, seed: int, outcome: Outcome) -> None:
    spec = spec_of("task=glue/sst2", "method=head", f"seed={seed}")
    identity = Identity(hashed=covered(spec, {"version": 1}, {"recipe": "none"}))
    key = cell_key(spec, "full")
    write(
        folder,
        Plan(id=run_id(identity.hashed), identity=identity, key=key, config=spec.model_dump(mode="json")),
        outcome,
    )


def test_status_counts_every_outcome_and_says_whether_all_is_done(tmp_path: Path) -> None:
    recorded(tmp_path / "a", 0, "ok")
    recorded(tmp_path / "b", 1, "diverged")
    recorded(tmp_path / "d", 2, "broken_round_trip")
    assert status(tmp_path).is_done
    recorded(tmp_path / "c", 3, "out_of_memory")
    found = status(tmp_path)
    assert found.text.splitlines()[-1] == "1 broken_round_trip, 1 diverged, 1 ok, 1 out_of_memory"
    assert not found.is_done


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no JSON, or cut off: "),
        ("[]", "content=[]: not accepted; accepted: a valid dictionary or instance of Attempt"),
        ('{"schema": 2}', "id: missing; accepted: a record with every key"),
        ('{"schema": 2, "id": 3}', "id=3: not accepted; accepted: a valid string"),
    ],
)
def test_an_attempt_that_says_nothing_is_named_and_hides_no_other(
    content: str, reason: str, tmp_path: Path, plan: Plan
) -> None:
    write(tmp_path / "sound", plan, "ok")
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "attempt.json").write_text(content)
    found = status(tmp_path)
    assert found.text.splitlines() == ["unreadable        damaged", "1 ok, 1 unreadable"]
    (fault,) = found.faults
    assert fault.path == folder / "attempt.json"
    assert reason in fault.reason


def test_a_record_proves_itself_as_it_is_written(tmp_path: Path, plan: Plan) -> None:
    write(tmp_path, plan, "ok")
    path = tmp_path / "record.json"
    assert isinstance(record.read(tmp_path), Record)
    path.write_text(path.read_text().replace('"accuracy": 0.5', '"accuracy": 0.6'))
    found = record.read(tmp_path)
    assert isinstance(found, Fault)
    assert found.reason.startswith("digest=")
    assert not found.is_newer


def test_a_name_that_is_no_unicode_is_written_all_the_same(tmp_path: Path) -> None:
    record.write_json(tmp_path / "record.json", {"path": "caf\udce9"})
    assert json.loads((tmp_path / "record.json").read_text()) == {"path": "caf\\udce9"}
