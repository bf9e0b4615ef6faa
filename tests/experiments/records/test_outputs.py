"""Folders of runs: what cannot be written to is said in a line, and what earlier attempts left is never lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.records import outputs
from tests.experiments.conftest import Runner


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "checkpoint").mkdir(parents=True)
    for name in ("record.json", "spec.json", "lock", "checkpoint/weights"):
        (folder / name).write_text(name)
    return folder


def _files(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_what_is_set_aside_is_kept_and_not_read_twice(run_folder: Path) -> None:
    for number in (1, 2):
        (run_folder / "record.json").write_text(str(number))
        (run_folder / ".record.json.17.4").write_text("")
        assert outputs.set_aside(run_folder) == run_folder / "previous" / str(number)
    assert {path.name for path in run_folder.iterdir()} == {"previous", "lock"}
    assert not list(run_folder.rglob("record.json"))
    assert [(run_folder / "previous" / n / "previous-record.json").read_text() for n in "12"] == ["1", "2"]
    assert (run_folder / "previous/1/checkpoint/weights").is_file()
    assert outputs.set_aside(run_folder) is None


def test_a_name_below_previous_that_is_no_number_does_not_matter(run_folder: Path) -> None:
    (run_folder / "previous/1x").mkdir(parents=True)
    assert outputs.set_aside(run_folder) == run_folder / "previous/1"


def test_a_refused_attempt_leaves_everything_where_it_was(run_folder: Path) -> None:
    before = _files(run_folder)
    earlier = outputs.set_aside(run_folder)
    (run_folder / "spec.json").write_text("of the attempt")
    (run_folder / "trainer").mkdir()
    outputs.restore(run_folder, earlier)
    assert _files(run_folder) == before
    assert not (run_folder / "previous").exists()
    assert not (run_folder / "trainer").exists()


def test_folders_that_a_refused_run_made_are_taken_away_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    folder = tmp_path / "mine/task/run"
    created = [folder, folder.parent]
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    outputs.take_away(folder, created)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


@pytest.mark.parametrize(
    "name", ["file", "file/below", "n" * 300, "loop", "/dev/null", "/dev/null/x"], ids=lambda name: name[:10]
)
def test_what_is_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (line,) = outputs.errors(str(tmp_path / name))
    assert line.startswith("outputs=")
    assert "; accepted: a folder" in line


def test_a_folder_that_is_not_there_yet_is_accepted(tmp_path: Path) -> None:
    assert outputs.errors(str(tmp_path / "a b/ü/c")) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["single", "sweep"])
def test_the_command_line_says_so_before_anything_is_loaded(sweep: list[str], run_py: Runner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    result = run_py(*sweep, "profile=embedded", f"outputs={tmp_path / 'file'}", "seed=0")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: outputs={tmp_path}/file: {tmp_path}/file is no folder; accepted: ")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.fixture
def mounted(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system in memory with the mount options of the test's parameter; its mount point."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    options = request.param
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]).returncode:
        pytest.skip("mounting a file system is refused here: it takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sweep", "mounted"), [([], "size=4k"), (["-m"], "size=20k"), ([], "ro")], indirect=["mounted"]
)
def test_a_disk_without_room_for_the_record(sweep: list[str], mounted: Path, tiny: list[str], run_py: Runner) -> None:
    result = run_py(*sweep, *tiny, "method=head", "task=glue/sst2", f"outputs={mounted}/runs")
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.returncode == 2
    assert len(lines) == 1
    assert f"outputs={mounted}/runs: " in lines[0]
    assert "Traceback" not in result.stderr
    assert not list(mounted.iterdir()), "nothing is left behind"


@pytest.mark.slow
@pytest.mark.parametrize("mounted", ["size=400k"], indirect=True)
def test_a_disk_without_room_for_the_checkpoint(mounted: Path, run_py: Runner) -> None:
    small = ["task=glue/rte", "recipe.epochs=0.3", "data.train_rows=200", "data.test_rows=40", "logger=disabled"]
    command = ["profile=embedded", *small, "method=full", f"outputs={mounted}/runs"]
    result = run_py(*command)
    assert result.returncode == 1
    (record,) = mounted.rglob("record.json")
    assert "No space left on device" in record.read_text()
    assert "Traceback" not in result.stderr
    assert not list(mounted.rglob(".*.json.*")), "no temporary file"
    subprocess.run(["mount", "-o", "remount,size=20m", str(mounted)], check=True)
    assert run_py(*command).returncode == 0, "it ends well once there is room"
