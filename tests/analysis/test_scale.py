"""Work and size at some two thousand records: what is counted here grows with the records, and no faster."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main
from analysis.plots import figures
from analysis.plots.figure import MOST_ROWS
from analysis.records import read_runs
from analysis.report.material import MOST_FIGURES, material
from schema import folder
from tests.analysis.conftest import record, write
from tests.analysis.plots.conftest import history
from tests.analysis.report.test_page import cells_of, drawn, runs_of

METHODS = ("gpart", "lora", "head")
TASKS = ("glue/sst2", "glue/rte", "glue/cola")


def fill(runs: Path, backbones: int, rates: int, seeds: int) -> int:
    """Three tasks on some backbones, each with three methods at several learning rates; how many runs that makes."""
    count = 0
    for backbone in range(backbones):
        for task in TASKS:
            for method in METHODS:
                for rate in range(rates):
                    for seed in range(seeds):
                        settings = {"config__recipe__learning_rate": 0.001 * (1 + rate)}
                        settings |= dict.fromkeys(("config__backbone__name", "key__backbone"), f"backbone-{backbone}")
                        score = 0.5 + (7 * rate + seed) / 1000
                        write(runs, record(method, seed, task, score=score, history=history(seed), **settings))
                        count += 1
    return count


@pytest.mark.slow
def test_a_report_of_two_thousand_runs_reads_each_record_twice_and_stays_small(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    count = fill(runs, backbones=8, rates=6, seeds=5)
    read: Counter[Any] = Counter()
    really = folder.read_bytes

    def counted(path: Path) -> bytes:
        read[path] += 1
        return really(path)

    monkeypatch.setattr(folder, "read_bytes", counted)
    assert main(["report", str(runs)]) == 0
    assert len(read) == count == 2160
    assert set(read.values()) == {2}
    text = (runs / "report.html").read_text(encoding="utf-8")
    assert set(runs_of(text)) == {path.parent.name for path in read}
    images = "".join(re.findall(r'src="data:image[^"]*"', text))
    assert (len(text) - len(images)) / count < 4000
    drawings = text.count("<figure>")
    assert MOST_FIGURES <= drawings < 2 * MOST_FIGURES
    sentence = "columns; `python -m analysis plots` draws those of all."
    assert sentence in text
    assert sum(sentence in line for line in capsys.readouterr().out.splitlines()) == 1


@pytest.mark.slow
def test_a_cell_of_many_runs_is_opened_in_parts(runs: Path) -> None:
    for seed in range(120):
        write(runs, record(seed=seed, score=0.5 + seed / 1000))
    text = drawn(runs)
    assert len(runs_of(text)) == 120
    assert [len(cell["runs"]) for cell in cells_of(text)] == [120]
    assert text.count('id="block-') == 3


def test_a_figure_of_too_many_rows_shows_every_method_and_says_so(runs: Path) -> None:
    for rate in range(MOST_ROWS):
        settings = {"config__recipe__learning_rate": 0.001 * (1 + rate)}
        write(runs, record("gpart", score=0.9 - rate / 1000, history=history(), **settings))
    for method in ("lora", "head"):
        write(runs, record(method, score=0.3, history=history()))
    (figure,) = figures(read_runs(runs).kept, ["curves"])
    assert figure.data["row"].nunique() == MOST_ROWS
    assert {"lora, r=8", "head", "gpart, d=4608, learning_rate=0.001"} <= set(figure.data["row"])
    assert f"gpart, d=4608, learning_rate={0.001 * MOST_ROWS:g}" not in set(figure.data["row"])
    assert f"Shown: {MOST_ROWS} of {MOST_ROWS + 2} rows" in figure.caption


def test_figures_end_with_a_whole_column_and_every_run_is_told(runs: Path) -> None:
    for task in TASKS:
        write(runs, record("lora", task=task, history=history()))
    found = material(read_runs(runs).kept, runs, most=1)
    assert {figure.column.task for figure in found.figures} == {sorted(TASKS)[0]}
    assert found.undrawn.startswith("Plots are of 1 of 3 columns;")
    assert len(found.details) == 3
    assert material(read_runs(runs).kept, runs).undrawn == ""
