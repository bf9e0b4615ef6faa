from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from experiments.__main__ import main
from tests.experiments.runs import folder_of, run


@pytest.fixture
def recorded(tiny: list[str], tmp_path: Path) -> Path:
    result = run(*tiny, "method=gpart", "task=glue/sst2", "recipe.learning_rate=0.05")
    return folder_of(tmp_path / "outputs", result["id"])


def test_a_checkpoint_scores_what_its_record_says(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(recorded)]) == 0
    assert "accuracy: recorded" in capsys.readouterr().out


def test_moved_data_is_found_and_changed_data_refused(
    recorded: Path, tiny_glue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(tiny_glue, moved)
    assert main(["evaluate", str(recorded), "--data", str(moved)]) == 0
    shutil.copy(moved / "glue/sst2/train.parquet", moved / "glue/sst2/validation.parquet")
    assert main(["evaluate", str(recorded), "--data", str(moved)]) == 2
    assert "not the data that the run was made with" in capsys.readouterr().err


def test_a_truncated_adapter_is_refused_in_one_line(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = recorded / "checkpoint" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    capsys.readouterr()
    assert main(["evaluate", str(recorded)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "adapter_model.safetensors is not the file that was recorded" in line
