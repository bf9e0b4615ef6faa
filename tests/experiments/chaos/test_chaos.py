"""Chaos finds nothing in this suite, and finds what it looks for where it is."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.chaos import witness
from experiments.chaos.aftermath import differences
from experiments.chaos.chaos_command import chaos
from experiments.errors import SpecError
from tests.experiments.runs import run


@pytest.mark.slow
def test_a_sweep_that_is_killed_ends_as_one_that_is_left_alone(tmp_path: Path) -> None:
    assert chaos(tmp_path / "chaos", jobs=3, kills=2, generator=random.Random(0)) == []


def test_what_cannot_be_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="FOLDER="):
        chaos(tmp_path, jobs=3, kills=1, generator=random.Random(0))
    with pytest.raises(SpecError, match="--jobs=4"):
        chaos(tmp_path / "new", jobs=4, kills=1, generator=random.Random(0))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of two short runs."""
    folder = tmp_path_factory.mktemp("chaos") / "sound"
    small = ["task=glue/rte", "recipe.epochs=0.3", "data.train_rows=200", "data.test_rows=40", "logger=disabled"]
    for seed in (0, 1):
        run("profile=embedded", *small, "method=head", f"seed={seed}", f"outputs={folder}")
    return folder


def _edited(path: Path) -> None:
    values = json.loads(path.read_text())
    values["metrics"]["test"]["accuracy"] /= 2
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda runs: shutil.rmtree(runs[0]), "no record"),
        (lambda runs: shutil.copytree(runs[0], runs[0].with_name("0" * 12)), "a record of no run"),
        (lambda runs: (runs[0] / ".record.json.1.2").touch(), "a temporary file"),
        (lambda runs: (runs[0] / "predictions.parquet").write_bytes(b""), "not the file of the record"),
        (lambda runs: _edited(runs[0] / "record.json"), "tables"),
    ],
    ids=["lost", "doubled", "temporary", "truncated", "edited"],
)
def test_what_is_not_as_it_was_is_named(damage: object, complaint: str, sound: Path, tmp_path: Path) -> None:
    found = tmp_path / "found"
    shutil.copytree(sound, found)
    assert differences(sound, found) == []
    damage(sorted(path.parent for path in found.rglob("record.json")))  # type: ignore[operator]
    assert any(complaint in line for line in differences(sound, found))


def test_two_processes_in_one_folder_are_seen(tmp_path: Path) -> None:
    code = "import time; time.sleep(60)"
    command = [sys.executable, "-c", code, witness.process.__name__, f"{tmp_path}/run", "1", "0"]
    with witness.Witness(tmp_path) as seen:
        two = [subprocess.Popen(command) for _ in range(2)]
        deadline = time.monotonic() + 60
        while not seen.faults and time.monotonic() < deadline:
            time.sleep(0.1)
        assert all(run.is_orphan for run in witness.runs(tmp_path)), "their parent is not the one that they name"
        for one in two:
            one.kill()
            one.wait()
    assert seen.faults == [f"{tmp_path}/run: 2 processes at once"]
    assert witness.runs(tmp_path) == []
