from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.__main__ import main
from tests.analysis.conftest import RecordWriter, record, write
from tests.conftest import ROOT

FILES = ["cells.json", "differences.csv", "tables.csv", "tables.md", "tables.tex"]


@pytest.fixture
def filled(runs: Path, predicted_run: RecordWriter) -> Path:
    """Two methods over two seeds, a diverged run and a run of another protocol."""
    for seed in range(2):
        predicted_run("gpart", seed, right=320)
        predicted_run("head", seed, right=290 + seed)
    write(runs, record("gpart", seed=2, outcome="diverged"))
    write(runs, record("full", protocol="best_on_dev", score=0.91))
    return runs


def test_tables_are_printed_and_written(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", str(filled), "--baseline", "head"]) == 0
    printed = capsys.readouterr().out
    assert (filled / "tables" / "tables.md").read_text() in printed
    assert sorted(path.name for path in (filled / "tables").iterdir()) == FILES
    assert "80.00 ± 0.00 (n=2; 1 diverged)" in printed
    assert "+7.38 [" in printed
    assert "protocol best_on_dev" in printed


def test_csv_lists_every_cell_in_full(filled: Path) -> None:
    assert main(["tables", str(filled), "--baseline", "head"]) == 0
    with (filled / "tables" / "tables.csv").open(newline="") as file:
        lines = {(line["protocol"], line["row"]): line for line in csv.DictReader(file)}
    head = lines["heldout", "head"]
    assert (head["n"], head["mean"], head["std"], head["method_parameters"]) == ("2", "72.6250", "0.1768", "0")
    gpart = lines["heldout", "gpart, d=4608"]
    assert (gpart["capacity"], gpart["n"], len(gpart["runs"].split())) == ("d=4608", "2", 3)
    assert gpart["runs_without_score"].endswith(":diverged")
    assert lines["best_on_dev", "full"]["std"] == ""
    with (filled / "tables" / "differences.csv").open(newline="") as file:
        (difference,) = csv.DictReader(file)
    assert (difference["difference"], difference["n"], difference["reason"]) == ("7.3750", "2", "")


def test_every_cell_is_traced_to_its_records(filled: Path) -> None:
    assert main(["tables", str(filled)]) == 0
    cells = json.loads((filled / "tables" / "cells.json").read_text())["cells"]
    found = {run["record"]: run for cell in cells for run in cell["runs"]}
    assert set(found) == {path.relative_to(filled).as_posix() for path in filled.rglob("record.json")}
    for name, run in found.items():
        assert json.loads((filled / name).read_text())["id"] == run["id"]


def test_the_same_records_give_the_same_bytes_wherever_they_lie(filled: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    main(["tables", str(filled), "--baseline", "head", "--out", str(first)])
    moved = tmp_path / "moved"
    moved.mkdir()
    for number, path in enumerate(sorted(filled.rglob("record.json"), reverse=True)):
        path.parent.rename(moved / f"{number}")
    second = tmp_path / "second"
    main(["tables", str(moved), "--baseline", "head", "--out", str(second)])
    for name in FILES[1:]:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    main(["tables", str(moved), "--baseline", "head", "--out", str(first)])
    assert (first / "cells.json").read_bytes() == (second / "cells.json").read_bytes()


def test_formats_are_chosen(filled: Path) -> None:
    assert main(["tables", str(filled), "--format", "latex"]) == 0
    assert sorted(path.name for path in (filled / "tables").iterdir()) == ["cells.json", "tables.tex"]


def test_only_trials_make_an_empty_table_that_says_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs, record(config__test=False, metrics__test=None))
    assert main(["tables", str(runs)]) == 0
    assert "Left out: 1 runs made with test=false" in capsys.readouterr().out


def test_records_that_are_set_aside_are_status_1_and_nothing_left_status_2(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (filled / name).mkdir()
        (filled / name / "record.json").write_text("{")
    assert main(["tables", str(filled)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert (filled / "tables").exists()
    assert main(["tables", str(filled / "one")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert not (filled / "one" / "tables").exists()
    assert main(["tables", str(filled / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_is_status_2(
    filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["tables", str(filled), "--out", str(tmp_path / "file")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {tmp_path / 'file'}: File exists; accepted: a place that can be read, or written to"


@pytest.mark.parametrize("arguments", [["tables", ".", "--format", "pdf"], ["plots"], []])
def test_unknown_commands_and_formats_are_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("command", [["published"], ["tables", "."]])
def test_a_reader_that_has_gone_ends_the_command_quietly(command: list[str], filled: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` does, but before the first line, so that every write fails
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with os.fdopen(writer, "wb") as output:
        run = [sys.executable, "-m", "analysis", *command]
        ended = subprocess.run(run, stdout=output, stderr=subprocess.PIPE, cwd=filled, env=environment, check=False)
    assert (ended.returncode, ended.stderr) == (1, b"")
