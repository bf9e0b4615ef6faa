from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.cells import sections
from analysis.latex import escape, latex
from analysis.records import read_runs
from analysis.render import markdown
from analysis.tables import Table, score_table
from tests.analysis.conftest import lowered, record, write


def table(folder: Path, *records: dict[str, Any]) -> Table:
    for content in records:
        write(folder, content)
    (section,) = sections(read_runs(folder).kept)
    return score_table(section)


def test_a_cell_is_mean_sample_deviation_and_number(runs: Path) -> None:
    found = table(runs, *(record(seed=seed, score=score) for seed, score in enumerate([0.80, 0.82, 0.87])))
    assert found.rows == (("gpart, d=4608", "4,608", "770", "83.00 ± 3.61 (n=3)"),)


def test_one_run_has_no_deviation_and_no_run_is_missing(runs: Path) -> None:
    found = table(runs, record(score=0.8), record("head", task="glue/rte", score=0.5))
    assert [heading.lines[0] for heading in found.headings[3:]] == ["glue/rte", "glue/sst2"]
    assert found.rows[0] == ("gpart, d=4608", "4,608", "770", "missing", "80.00 (n=1)")
    assert found.rows[1] == ("head", "0", "770", "50.00 (n=1)", "missing")


def test_runs_without_a_score_are_counted_and_listed(runs: Path) -> None:
    found = table(
        runs,
        record(seed=0, score=0.8),
        record(seed=1, score=0.9),
        record(seed=2, outcome="diverged"),
        record("full", outcome="out_of_memory", sizes={}),
        record("lora", score=None),
    )
    cells = {row[0]: row[1:] for row in found.rows}
    assert cells["gpart, d=4608"][2] == "85.00 ± 7.07 (n=2; 1 diverged)"
    assert cells["full"] == ("missing", "missing", "1 out_of_memory")
    assert cells["lora, r=8"][2] == "1 undefined"
    listed = [note for note in found.notes if ", run " in note]
    assert len(listed) == 3
    assert any("diverged (Stopped: the loss is not finite)." in note for note in listed)


def test_heads_that_differ_between_columns_are_a_range(runs: Path) -> None:
    found = table(runs, record(), record(task="glue/stsb", metric="pearson", sizes={"theta": 4608, "head": 385}))
    assert found.rows[0][1:3] == ("4,608", "385 to 770")


def test_a_generated_task_prints_as_embedded(runs: Path) -> None:
    found = table(runs, record(task="embedded/glue/sst2", source="embedded"))
    assert found.headings[3].lines[0] == "embedded/glue/sst2"
    assert "| embedded/glue/sst2, accuracy, embedded, full" in markdown([found])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"provenance__packages__torch": "2.12.0"}, "packages.torch differs: 2.12.0 (n=1), 2.13.0 (n=1)"),
        ({"provenance__hardware__processor": "other"}, "hardware.processor differs: a processor (n=1), other"),
        ({"provenance__threads": 8}, "threads differs: 2 (n=1), 8 (n=1)"),
        ({"provenance__git_dirty": True}, "1 of 2 runs from a checkout with uncommitted changes"),
        ({"provenance__data_fingerprint__test": "others"}, "scored_rows differs: others (n=1), test (n=1)"),
    ],
)
def test_differing_environments_are_footnoted(runs: Path, change: dict[str, Any], text: str) -> None:
    found = table(runs, record(), record("head", **change), record(task="glue/rte"))
    (note,) = [note for note in found.notes if note.startswith("[")]
    assert note.startswith(f"[1] glue/sst2 (local, full): {text}")
    assert [heading.footnotes for heading in found.headings[3:]] == [(), (1,)]


def test_equal_environments_and_the_rows_of_training_are_not_footnoted(runs: Path) -> None:
    found = table(runs, record(seed=0), record(seed=1))
    assert not any(note.startswith("[") for note in found.notes)


def test_latex_is_escaped() -> None:
    assert escape("a_b & 50 % ± #{x} \\ ~^$") == (
        r"a\_b \& 50 \% $\pm$ \#\{x\} \textbackslash{} \textasciitilde{}\textasciicircum{}\$"
    )
    assert escape("-0.50 [-1.20, +0.10] best-on-dev t-1") == "$-$0.50 [$-$1.20, +0.10] best-on-dev t-1"


def test_latex_is_a_booktabs_table(runs: Path) -> None:
    text = latex([table(runs, record(), record("head", score=0.7))])
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"\begin{tabular}{lrrr}" in text
    assert r"gpart, d=4608 & 4,608 & 770 & 80.00 (n=1) \\" in text
    assert r"track equal\_budget" in text
    assert r"\shortstack{glue/sst2\\accuracy\\local\\full}" in text


def test_markdown_rows_have_the_same_number_of_cells(runs: Path) -> None:
    strange = record("head", task="glue/rte", subset="a|b")
    lines = [line for line in markdown([table(runs, record(), strange)]).splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in lines} == {6}


def test_rows_of_the_older_identity_are_marked_and_explained(runs: Path) -> None:
    found = table(runs, lowered(record(seed=0)), record(seed=1), record("head"))
    assert [row[0] for row in found.rows] == ["gpart, d=4608", "gpart, d=4608, identity=1 ‡", "head"]
    (note,) = [note for note in found.notes if note.startswith("‡")]
    assert "identity 1: configuration files of a local backbone and commits of the hub were not part of it" in note
    assert "head & 0" in latex([found])
    assert r"identity=1 $^{\ddagger}$ &" in latex([found])


def test_nothing_is_marked_where_all_runs_have_the_newest_identity(runs: Path) -> None:
    assert "‡" not in markdown([table(runs, record(), record("head"))])
