from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.__main__ import main
from experiments.commands.recorded import Folders, moved, pinned
from experiments.records import record
from schema.record import Provenance
from tests.experiments.runs import folder_of, run, spec_of


@pytest.fixture
def recorded(tiny: list[str], tmp_path: Path) -> Path:
    """The folder of a run that was made on this machine."""
    result = run(*tiny, "method=gpart", "task=glue/sst2", "recipe.learning_rate=0.05")
    return folder_of(tmp_path / "outputs", result["id"])


def edited(folder: Path, **changes: Any) -> None:
    """Set dotted keys (`__` for a dot) of a record."""
    content = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    for key, value in changes.items():
        *parents, last = key.split("__")
        target = content
        for name in parents:
            target = target[name]
        target[last] = value
    content.pop("digest", None)  # as before records had one
    record.write_json(folder / "record.json", content)


@pytest.mark.slow
def test_a_run_is_reproduced_bit_by_bit_on_the_machine_it_was_made_on(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in recorded.rglob("*.json")}
    out = tmp_path / "again"
    assert main(["reproduce", str(recorded / "record.json"), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    for part in ("scores       agrees", "history      agrees", "predictions  agrees", "checkpoint   agrees"):
        assert part in text
    assert "reproduced bit for bit; compared: rows, scores, history, predictions, checkpoint;" in text
    assert {path: path.read_bytes() for path in before} == before
    assert not list(out.rglob("record.json"))
    assert len(list(out.rglob("reproduced-record.json"))) == 1


@pytest.mark.slow
def test_what_differs_is_named(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited(recorded, metrics__test={"accuracy": 0.123}, history__best_epoch=7.0)
    path = recorded / "predictions.parquet"
    frame = pd.read_parquet(path)
    frame.loc[0, "prediction"] = 1 - frame.loc[0, "prediction"]
    frame.to_parquet(path, index=False)
    edited(recorded, artifacts=[item.model_dump() for item in record.artifacts(recorded)])
    assert main(["reproduce", str(recorded), "--out", str(tmp_path / "again")]) == 1
    text = capsys.readouterr().out
    assert "scores       DIFFERS: test accuracy 0.123, now" in text
    assert "history      DIFFERS" in text
    assert "predictions  DIFFERS" in text
    assert "checkpoint   agrees" in text
    assert "NOT reproduced bit for bit" in text


@pytest.mark.slow
def test_another_version_or_processor_is_said_and_compared_by_intervals(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(recorded, provenance__packages__torch="1.0", provenance__hardware__processor="another")
    assert main(["reproduce", str(recorded), "--out", str(tmp_path / "again")]) == 0
    text = capsys.readouterr().out
    assert "by intervals, since these differ: processor another, now" in text
    assert "torch 1.0, now" in text
    assert "test accuracy agrees: recorded" in text
    assert "reproduced within intervals; compared: rows, test accuracy, selection accuracy" in text


def test_changed_data_and_what_was_not_scored_are_refused(
    recorded: Path, tiny_glue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "glue").symlink_to(tiny_glue / "glue")
    assert main(["reproduce", str(tmp_path)]) == 2
    assert main(["reproduce", str(recorded), "--data", str(tmp_path / "nowhere")]) == 2
    edited(recorded, provenance__data_reference={"splits": {}})
    assert main(["reproduce", str(recorded), "--out", str(tmp_path / "again")]) == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert "no record of a run that was scored" in first
    assert "nowhere" in second
    assert "provenance.data_reference: identity.hashed says another" in third
    assert not (tmp_path / "again").exists()


def test_the_record_itself_is_never_taken_for_what_was_made_again(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in recorded.rglob("*") if path.is_file()}
    assert main(["reproduce", str(recorded), "--out", str(tmp_path / "outputs")]) == 2
    assert "holds a record of this run; accepted: another folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in recorded.rglob("*") if path.is_file()} == before


def test_commits_of_the_hub_are_those_of_the_record() -> None:
    spec = spec_of("task=glue/sst2")
    found = pinned(spec, Provenance(data_reference={"commit": "a" * 40}, backbone_reference={"commit": "b" * 40}))
    assert (found.task.hub.revision, found.backbone.revision) == ("a" * 40, "b" * 40)
    assert pinned(spec, Provenance(data_reference={"path": "nyu-mll/glue"})) == spec


def test_paths_follow_the_folder_that_has_moved() -> None:
    spec = spec_of("profile=local", "local=/old", "backbone=minilm-l6", "task=glue/sst2")
    found = moved(spec, Folders(local="/new"))
    assert (found.local, found.data.path, found.backbone.path) == ("/new", "/new", "/new/minilm-l6")
    found = moved(spec, Folders(backbone="/else"))
    assert (found.local, found.data.path, found.backbone.path) == ("/old", "/old", "/else")
