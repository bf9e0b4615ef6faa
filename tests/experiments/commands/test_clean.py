from __future__ import annotations

from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.commands.clean import clean
from experiments.records.lock import held
from tests.analysis.conftest import record, write

KEPT = ("record.json", "predictions.parquet", "checkpoint/adapter_model.safetensors", "attempt.json")
SUPERFLUOUS = ("previous/1/previous-record.json", ".record.json.12.34", "trainer/state", "resume/model", "lock")


def run_folder(outputs: Path, outcome: str = "ok", seed: int = 0) -> Path:
    """A run with everything that may lie in its folder, 10 bytes each."""
    folder = write(outputs, record(outcome=outcome, seed=seed)).parent
    for name in (*KEPT[1:], *SUPERFLUOUS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("0123456789")
    return folder


def content(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_superfluous_is_named_with_its_bytes_and_deleted_only_when_told(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    text = clean(tmp_path, delete=False)
    assert text.splitlines()[-1] == "50 bytes in 5 places superfluous; --yes deletes them"
    assert content(folder) == {*KEPT, *SUPERFLUOUS}
    assert clean(tmp_path, delete=True).splitlines()[-1] == "50 bytes in 5 places deleted"
    assert content(folder) == set(KEPT)
    assert clean(tmp_path, delete=False) == "nothing is superfluous"


def test_a_run_that_is_not_done_keeps_what_it_can_go_on_from(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, outcome="interrupted")
    clean(tmp_path, delete=True)
    assert content(folder) == {*KEPT, "trainer/state", "resume/model"}


def test_nothing_of_a_run_that_is_going_on_is_touched(tmp_path: Path) -> None:
    going_on, other = run_folder(tmp_path), run_folder(tmp_path, seed=1)
    with held(going_on):
        text = clean(tmp_path, delete=True)
    assert going_on.name not in text
    assert content(going_on) == {*KEPT, *SUPERFLUOUS}
    assert content(other) == set(KEPT)


def test_what_sweeps_and_killed_processes_leave_beside_the_runs(tmp_path: Path) -> None:
    run_folder(tmp_path)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "multirun.yaml").write_text("0123456789")
    (tmp_path / "glue-sst2" / "lora" / "0123").mkdir(parents=True)
    (tmp_path / "glue-sst2" / "head" / "4567").mkdir(parents=True)
    (tmp_path / "glue-sst2" / "head" / "4567" / "lock").touch()
    clean(tmp_path, delete=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["glue-sst2"]
    assert [path.name for path in (tmp_path / "glue-sst2").iterdir()] == ["gpart"]


def test_a_run_made_again_keeps_its_last_attempt(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    (folder / "record.json").replace(folder / "reproduced-record.json")
    (folder / "attempt.json").unlink()
    clean(tmp_path, delete=True)
    assert not (folder / "previous").exists()
    assert (folder / "reproduced-record.json").is_file()


def test_an_unreadable_record_is_no_reason_to_delete(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    (folder / "record.json").write_text("{")
    clean(tmp_path, delete=True)
    assert content(folder) == {*KEPT, "trainer/state", "resume/model"}


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.endswith("nowhere: no such folder; accepted: the outputs folder of earlier runs\n")
