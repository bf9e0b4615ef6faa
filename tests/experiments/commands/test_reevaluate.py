from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.__main__ import main
from schema.identity import run_id
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


class Payload:
    """What a pickle may do as it is loaded: here, leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


def forged(folder: Path, **options: Any) -> Path:
    """The run with another configuration of its method, named by it as if it had been made so."""
    content = json.loads((folder / "record.json").read_text())
    for method in (content["config"]["method"], content["identity"]["hashed"]["method"]):
        method["config"] |= options
    identity = run_id(content["identity"]["hashed"])
    (folder / "record.json").write_text(json.dumps(content | {"id": identity, "digest": None}))
    return folder.rename(folder.with_name(identity))


def test_a_forged_record_is_a_record(recorded: Path) -> None:
    assert main(["evaluate", str(forged(recorded, d=64))]) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"_target_": "torch.load", "f": "PICKLE", "weights_only": False},
        {"_target_": "pandas.read_pickle", "filepath_or_buffer": "PICKLE"},
        {"_target_": "experiments.records.record.write_json", "path": "MARK", "value": {}},
        {"_target_": "lying_beside_it.Config"},
        {"_target_": "peft.LoraConfig", "loftq_config": {"a": [{"_target_": "torch.load", "f": "PICKLE"}]}},
        {"_target_": "peft.LoraConfig", "megatron_config": {"a": 1}, "megatron_core": "lying_beside_it"},
        {"_target_": "peft.utils.other.torch.load", "f": "PICKLE", "weights_only": False},
        {"_target_": ["torch.load"]},
    ],
    ids=lambda options: str(options["_target_"]),
)
def test_nothing_that_a_record_names_is_run(
    options: dict[str, Any],
    recorded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mark, harmful = tmp_path / "mark", tmp_path / "harmful.pt"
    harmful.write_bytes(pickle.dumps(Payload(mark)))
    (tmp_path / "lying_beside_it.py").write_text(f"open({str(mark)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    paths = {"PICKLE": str(harmful), "MARK": str(mark)}
    named = json.loads(json.dumps(options), object_hook=lambda o: {k: paths.get(str(v), v) for k, v in o.items()})
    folder = forged(recorded, **named)
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "method.config" in line
    assert not mark.exists()
    pickle.loads(harmful.read_bytes())
    assert mark.exists(), "the pickle would have left it"


def test_an_edited_record_is_refused_in_one_line(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recorded / "record.json"
    path.write_text(path.read_text().replace('"outcome": "ok"', '"outcome": "error"'))
    capsys.readouterr()
    assert main(["evaluate", str(recorded)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: digest=")
    assert main(["rescore", str(recorded.parent)]) == 2
    assert "no record.json in it" in capsys.readouterr().err
