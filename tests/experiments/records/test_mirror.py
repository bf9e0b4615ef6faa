from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.__main__ import main
from experiments.records import record as files
from experiments.records.lock import held
from experiments.records.mirror import mirror, mode_of
from experiments.records.outputs import set_aside
from schema.reading import read
from schema.record import Record
from schema.sections import Logger
from tests.analysis.conftest import record, write
from tests.analysis.plots.conftest import history
from tests.experiments.records import wandb_log
from tests.experiments.runs import folder_of, run

OFFLINE = Logger(wandb="offline", project="gpart")


def made(**changes: Any) -> Record:
    return read(record(history=history(), **changes))


def log_of(folder: Path, identity: str) -> Path:
    """The file of the one offline run of this id, once W&B's own process has ended it."""
    (log,) = folder.rglob(f"offline-run-*-{identity}/run-{identity}.wandb")
    deadline = time.monotonic() + 60
    while wandb_log.ended(log) is None and time.monotonic() < deadline:
        time.sleep(0.2)
    return log


def test_each_run_has_one_offline_wandb_run_below_its_own_folder(tiny: list[str], tmp_path: Path) -> None:
    overrides = [item for item in tiny if not item.startswith("logger=")]
    result = run(*overrides, "logger=offline", "method=head", "task=glue/sst2")
    log = log_of(folder_of(tmp_path / "outputs", result["id"]), result["id"])
    summary = wandb_log.summary(log)
    assert summary["metrics/test/accuracy"] == result["metrics"]["test"]["accuracy"]
    assert summary["outcome"] == "ok"
    assert [point["step"] for point in wandb_log.points(log)] == [part["step"] for part in result["history"]["steps"]]
    assert wandb_log.ended(log) == 0


def test_a_mirror_takes_the_place_of_those_of_earlier_attempts(tmp_path: Path) -> None:
    result = made(outcome="error")
    assert mirror(result, OFFLINE, tmp_path)
    (tmp_path / "record.json").touch()
    set_aside(tmp_path)
    assert list(tmp_path.glob("previous/1/wandb/offline-run-*"))
    ended = made()
    assert ended.id == result.id
    for _ in range(2):
        assert mirror(ended, OFFLINE, tmp_path)
    log = log_of(tmp_path, ended.id)  # the only one, that of the attempt set aside is gone
    assert len(wandb_log.points(log)) == len({part.step for part in ended.history.steps})
    assert wandb_log.summary(log)["outcome"] == "ok"


def test_a_reproduced_run_has_an_id_and_a_tag_of_its_own(tmp_path: Path) -> None:
    result = made()
    result.provenance.started = "2026-01-02T03:04:05+00:00"
    assert mirror(result, OFFLINE, tmp_path)
    assert mirror(result, OFFLINE, tmp_path, reproduced=True)
    own = wandb_log.run(log_of(tmp_path, result.id))
    other = wandb_log.run(log_of(tmp_path, f"{result.id}-reproduced-20260102030405"))
    assert own.run_id != other.run_id
    assert "reproduced" not in own.tags
    assert "reproduced" in other.tags


@pytest.mark.parametrize(
    ("key", "variable", "mode"),
    [
        ("offline", None, "offline"),
        ("offline", "", "offline"),
        ("offline", "online", "online"),
        ("online", "offline", "offline"),
        ("online", "dryrun", "dryrun"),
        ("offline", "shared", "shared"),
        ("online", "disabled", "disabled"),
        ("disabled", "online", "disabled"),
    ],
)
def test_the_environment_wins_and_either_can_switch_the_mirror_off(
    key: Any, variable: str | None, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert mode_of(Logger(wandb=key, project="gpart")) == mode


def test_a_mirror_that_is_switched_off_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert not mirror(made(), OFFLINE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def not_importable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)


def a_file_in_its_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "wandb").touch()


def no_such_mode(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "of")


def no_api_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(folder / "no-netrc"))


@pytest.mark.parametrize("broken", [not_importable, a_file_in_its_place, no_such_mode, no_api_key])
def test_a_mirror_that_cannot_be_written_costs_one_line(
    broken: Callable[[Path, pytest.MonkeyPatch], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    broken(tmp_path, monkeypatch)
    before = list(tmp_path.rglob("*"))
    assert not mirror(made(), OFFLINE, tmp_path)
    said = capfd.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("warning: no W&B mirror (")
    assert said.out == ""
    assert list(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_server_that_is_not_there_is_waited_for_once_and_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert not mirror(made(), OFFLINE, tmp_path)
    (line,) = capfd.readouterr().err.splitlines()
    assert "CommError" in line
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Two records, of which no mirror was written."""
    for seed in (0, 1):
        write(tmp_path, record(seed=seed, history=history()))
    return tmp_path


def test_mirrors_that_are_missing_are_written_and_all_of_them_where_asked(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (first, *_) = sorted(path.parent for path in outputs.rglob("record.json"))
    known = files.read(first)
    assert known is not None
    assert mirror(known, OFFLINE, first)
    before = log_of(first, first.name)
    assert main(["mirror", str(outputs)]) == 0
    assert capsys.readouterr().out == "1 records mirrored, 1 left with the mirror that they have\n"
    assert log_of(first, first.name) == before
    time.sleep(1)  # wandb names its folders by the second
    assert main(["mirror", str(outputs), "--all"]) == 0
    assert capsys.readouterr().out == "2 records mirrored\n"
    assert log_of(first, first.name) != before


def test_a_run_that_is_going_on_writes_its_own(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (first, *_) = sorted(path.parent for path in outputs.rglob("record.json"))
    with held(first):
        assert main(["mirror", str(outputs), "--all"]) == 0
    assert capsys.readouterr().out == "1 records mirrored, 1 left with the mirror that they have\n"
    assert not (first / "wandb").exists()


def test_a_damaged_record_hides_no_other(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (first, *_) = sorted(outputs.rglob("record.json"))
    first.write_text("{")
    assert main(["mirror", str(outputs)]) == 1
    said = capsys.readouterr()
    assert said.out == "1 records mirrored\n"
    assert said.err.startswith(f"error: {first}: no JSON, or cut off: ")


def test_mirrors_are_not_rebuilt_against_the_environment(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert main(["mirror", str(outputs)]) == 2
    assert capsys.readouterr().err.startswith("error: WANDB_MODE=disabled: nothing is mirrored; accepted: ")


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mirror", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
