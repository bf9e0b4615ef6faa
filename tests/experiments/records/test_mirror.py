from __future__ import annotations

import time
from pathlib import Path

import pytest

from experiments.__main__ import main
from tests.experiments.runs import folder_of, run


def test_each_run_has_one_offline_wandb_run_below_its_own_folder(tiny: list[str], tmp_path: Path) -> None:
    overrides = [item for item in tiny if not item.startswith("logger=")]
    result = run(*overrides, "logger=offline", "method=head", "task=glue/sst2")
    folder = folder_of(tmp_path / "outputs", result["id"])
    (mirrored,) = folder.glob("wandb/offline-run-*")
    (log,) = mirrored.glob("*.wandb")
    assert result["id"] in mirrored.name
    assert written(log, b"selection/accuracy", b"metrics/test/accuracy")


def written(log: Path, *names: bytes, patience: float = 60.0) -> bool:
    """Whether the names get into the log; W&B's own process writes it, and may lag behind on a busy machine."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        content = log.read_bytes()
        if all(name in content for name in names):
            return True
        time.sleep(0.2)
    return False


def test_the_mirror_can_be_rebuilt_from_records_alone(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(*tiny, "method=head", "task=glue/sst2")
    folder = folder_of(tmp_path / "outputs", result["id"])
    assert not (folder / "wandb").exists()
    assert main(["mirror", str(tmp_path / "outputs")]) == 0
    assert capsys.readouterr().out.endswith("1 records mirrored\n")
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mirror", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
