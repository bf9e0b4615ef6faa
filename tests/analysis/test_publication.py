from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main
from analysis.cells import sections
from analysis.marks import BEST, SECOND
from analysis.publication import publication_table
from analysis.records import read_runs
from analysis.render import markdown
from analysis.tables import Table
from tests.analysis.conftest import RecordWriter, record, write


def table(folder: Path, statistic: str = "mean") -> Table:
    (section,) = sections(read_runs(folder).kept)
    return publication_table(section, statistic)


def marked(found: Table) -> dict[tuple[str, str], str]:
    """The marks by row label and task."""
    return {(found.rows[r][0], found.headings[c].lines[0]): mark for (r, c), mark in found.marks.items()}


def test_best_and_second_are_marked_where_predictions_tell_them_apart(runs: Path, predicted_run: RecordWriter) -> None:
    for method, right in (("full", 380), ("lora", 330), ("head", 250)):
        predicted_run(method, 0, right=right)
    found = table(runs)
    assert marked(found) == {("full", "glue/sst2"): BEST, ("lora, r=8", "glue/sst2"): SECOND}
    assert any(note.endswith("over examples; a column without a mark has no best row that the runs tell from the next.")
               for note in found.notes)  # fmt: skip
    text = markdown([found])
    assert "**95.00** (n=1)" in text
    assert "<u>82.50</u> (n=1)" in text


def test_rows_that_the_runs_do_not_tell_apart_are_not_marked(runs: Path, predicted_run: RecordWriter) -> None:
    for method, right in (("full", 331), ("lora", 330), ("head", 250)):
        predicted_run(method, 0, right=right)
    found = table(runs)
    assert found.marks == {}  # lora is not marked as second either: which one is first is not known
    assert any(note.startswith("No cell is marked") for note in found.notes)


def test_the_second_is_marked_only_where_it_is_clear_of_the_third(runs: Path, predicted_run: RecordWriter) -> None:
    for method, right in (("full", 390), ("lora", 330), ("head", 329)):
        predicted_run(method, 0, right=right)
    assert marked(table(runs)) == {("full", "glue/sst2"): BEST}


def test_without_predictions_the_seeds_mark(runs: Path) -> None:
    for seed in range(4):
        write(runs, record("full", seed, score=0.90 + 0.001 * seed))
        write(runs, record("lora", seed, score=0.80 + 0.002 * seed))
    assert marked(table(runs)) == {("full", "glue/sst2"): BEST}
    (note,) = [note for note in table(runs).notes if note.startswith("Bold")]
    assert "over seeds;" in note


def test_one_seed_without_predictions_marks_nothing(runs: Path) -> None:
    write(runs, record("full", score=0.9))
    write(runs, record("lora", score=0.1))
    assert table(runs).marks == {}


def test_a_row_with_a_run_without_score_is_not_marked(runs: Path) -> None:
    for seed in range(4):
        write(runs, record("full", seed, score=0.90 + 0.001 * seed))
        write(runs, record("lora", seed, score=0.80 + 0.002 * seed))
    write(runs, record("full", 4, outcome="diverged"))
    assert table(runs).marks == {}


def test_the_average_is_there_where_no_cell_is_missing(runs: Path) -> None:
    for task, score in (("glue/sst2", 0.9), ("glue/rte", 0.6)):
        write(runs, record("lora", 0, task, score=score))
    write(runs, record("head", 0, "glue/rte", score=0.5))
    found = table(runs)
    assert found.headings[-1].lines == ("average", "2 tasks")
    assert {row[0]: row[-1] for row in found.rows} == {"lora, r=8": "75.00 (2 tasks)", "head": "missing"}


@pytest.mark.parametrize(
    "other", [{"subset": "10-of-20"}, {"source": "embedded", "task": "embedded/glue/rte"}, {"metric": "f1"}]
)
def test_what_may_not_be_averaged_has_no_average(runs: Path, other: dict[str, Any]) -> None:
    write(runs, record())
    write(runs, record(**other))
    assert "average" not in {heading.lines[0] for heading in table(runs).headings}


def test_the_median_is_shown_beside_the_deviation_and_marks_nothing(runs: Path) -> None:
    for seed, score in enumerate((0.80, 0.82, 0.99)):
        write(runs, record(seed=seed, score=score))
        write(runs, record("head", seed=seed, score=score / 2))
    found = table(runs, "median")
    assert found.rows[0][3].startswith("82.00 ± 10.")
    assert found.marks == {}
    assert any("median ± sample standard deviation" in note for note in found.notes)


def test_published_rows_stand_below_ours_with_source_and_certainty(runs: Path) -> None:
    roberta = {"key__backbone": "roberta-base", "config__backbone__name": "roberta-base"}
    write(runs, record("lora", protocol="best_on_dev", score=0.95, **roberta))
    write(runs, record("lora", protocol="best_on_dev", score=0.95, task="glue/rte", subset="100-of-2490", **roberta))
    found = table(runs)
    rows = {row[0]: row[1:] for row in found.rows}
    assert next(iter(rows)) == "lora, r=8"
    assert rows["unilora †"][:4] == ("23,000", "missing", "not comparable", "94.5 ± 0.2 (median; n=5)")
    (note,) = [note for note in found.notes if note.startswith("†")]
    assert "unilora (23,000): ZH-T [2]." in note
    assert "MRPC, RTE and STS-B start from an MNLI-tuned checkpoint" in note


@pytest.fixture
def several(runs: Path, predicted_run: RecordWriter) -> Path:
    for seed in range(2):
        for task in ("glue/sst2", "glue/rte"):
            for method, right in (("full", 380), ("lora", 330), ("head", 250)):
                predicted_run(method, seed, right=right + seed, task=task)
    return runs


def test_tables_made_twice_have_the_same_bytes(several: Path, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        for command in ("tables", "aggregate"):
            assert main([command, str(several), "--baseline", "head", "--out", str(tmp_path / name)]) == 0
        made.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert made[0] == made[1]
    assert len(made[0]) == 8


def test_deleting_the_record_of_a_cell_makes_it_missing_and_changes_no_other(several: Path, tmp_path: Path) -> None:
    main(["tables", str(several), "--out", str(tmp_path / "before")])
    before = table(several)
    for seed_folder in (several / "glue-rte" / "head").iterdir():
        (seed_folder / "record.json").unlink()
    after = table(several)
    column = [heading.lines[0] for heading in after.headings].index("glue/rte")
    row = [cells[0] for cells in after.rows].index("head")
    changed = {
        (r, c)
        for r, (old, new) in enumerate(zip(before.rows, after.rows, strict=True))
        for c, (first, second) in enumerate(zip(old, new, strict=True))
        if first != second
    }
    assert after.rows[row][column] == "missing"
    assert changed == {(row, column), (row, len(after.headings) - 1)}  # and the average over both
    assert after.rows[row][-1] == "missing"
    assert {place: mark for place, mark in after.marks.items() if mark == BEST} == {
        place: mark for place, mark in before.marks.items() if mark == BEST
    }
    main(["tables", str(several), "--out", str(tmp_path / "after")])
    lines = [(tmp_path / name / "tables.csv").read_text().splitlines() for name in ("before", "after")]
    differing = [(a, b) for a, b in zip(*lines, strict=True) if a != b]
    assert len(differing) == 1
    cells = json.loads((tmp_path / "after" / "cells.json").read_text())["cells"]
    assert [cell["row"] for cell in cells if not cell["runs"]] == ["head"]
