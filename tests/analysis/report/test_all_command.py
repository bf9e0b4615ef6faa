from __future__ import annotations

import base64
from pathlib import Path

import pytest

from analysis.__main__ import main
from tests.analysis.conftest import record, write
from tests.analysis.plots.conftest import history, isometry
from tests.analysis.report.conftest import fill


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_everything_is_written_twice_alike_and_no_record_is_touched(runs: Path) -> None:
    fill(runs)
    write(runs, record("head", seed=1, seeds__partition=0, score=0.7))  # differs from seed 1 in one seed alone
    before = contents(runs)
    assert main(["all", str(runs), "--baseline", "head"]) == 0
    first = contents(runs)
    assert main(["all", str(runs), "--baseline", "head"]) == 0
    assert contents(runs) == first
    assert {name: first[name] for name in before} == before
    made = {name.split("/")[0] for name in set(first) - set(before)}
    assert made == {"tables", "aggregates", "variance", "isometry", "plots", "report.html"}
    drawings = [content for name, content in first.items() if name.endswith(".svg")]
    assert drawings
    assert all(base64.b64encode(drawing) in first["report.html"] for drawing in drawings)


@pytest.mark.slow
def test_everything_goes_where_it_is_told(runs: Path, tmp_path: Path) -> None:
    write(runs, record(history=history(), diagnostics={"isometry": isometry("gpart")}))
    before = contents(runs)
    assert main(["all", str(runs), "--out", str(tmp_path / "out")]) == 0
    assert contents(runs) == before
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"tables", "isometry", "plots", "report.html"}


def test_what_has_nothing_to_draw_is_skipped_in_one_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs, record(score=None, metrics__test={"accuracy": None}))
    assert main(["all", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("aggregates", "variance", "isometry"):
        assert sum(line.startswith(f"skipped {name}:") for line in lines) == 1
    assert any(line.startswith("skipped pareto:") for line in lines)
    assert not (runs / "isometry").exists()


def test_trials_alone_give_a_page_and_no_figures(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs, record(config__test=False, metrics__test=None))
    assert main(["all", str(runs)]) == 0
    assert "skipped plots" in capsys.readouterr().out
    assert {path.name for path in runs.iterdir() if path.name != "glue-sst2"} == {"tables", "report.html"}


def test_a_baseline_that_no_row_has_is_status_2_and_nothing_is_written(runs: Path) -> None:
    write(runs, record())
    before = contents(runs)
    assert main(["all", str(runs), "--baseline", "absent"]) == 2
    assert contents(runs) == before
