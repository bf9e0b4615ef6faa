"""A run whose model is another once it is saved or merged: no number counts it, and everything lists it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.aggregate_table import aggregate_table
from analysis.aggregates import pools
from analysis.cells import Section, sections
from analysis.differences import baseline_row, differences
from analysis.plots import figures
from analysis.plots.isometry_table import isometry_data, isometry_markdown
from analysis.publication import publication_table
from analysis.records import Run, read_runs
from analysis.render import scores_csv
from analysis.report.material import material
from analysis.report.page import page
from analysis.tables import Table, score_table
from analysis.variance_table import decomposed, variance_table
from tests.analysis.conftest import broken, record, write
from tests.analysis.plots.conftest import history, isometry

WHY = "merge: largest difference of a logit 0.25 (accepted: 0.001), 4 of 32 predictions changed"


@pytest.fixture
def found(runs: Path) -> list[Run]:
    """Two seeds of two methods on two tasks, and a third run of GPart that scores best and is broken."""
    for task in ("glue/sst2", "glue/rte"):
        for method in ("gpart", "head"):
            for seed, score in ((0, 0.70), (1, 0.72)):
                diagnostics = {"isometry": isometry("gpart", seed)}
                write(runs, record(method, seed, task, score=score, history=history(seed), diagnostics=diagnostics))
    worst = isometry("lora", 2)
    write(runs, broken("gpart", 2, score=0.99, history=history(2), diagnostics={"isometry": worst}))
    return read_runs(runs).kept


@pytest.fixture
def section(found: list[Run]) -> Section:
    (only,) = sections(found)
    return only


def listed(table: Table) -> list[str]:
    return [note for note in table.notes if WHY in note]


def test_tables_average_the_others_and_say_what_differed(section: Section) -> None:
    for table in (score_table(section), publication_table(section)):
        assert table.rows[0][4] == "71.00 ± 1.41 (n=2; 1 broken_round_trip)"
        (note,) = listed(table)
        assert note.startswith("gpart, d=4608, glue/sst2 (local, full), run ")
    assert ":broken_round_trip" in scores_csv([section])
    assert "99.0" not in scores_csv([section])


def test_differences_leave_it_out(section: Section) -> None:
    (row,) = baseline_row([section], "head")
    assert row is not None
    assert [len(entry.pairs) for entry in differences(section, row)] == [2, 2]


def test_aggregates_and_variances_leave_it_out_and_list_it(section: Section) -> None:
    (pool,) = pools(section)
    table = aggregate_table(section, None, pool)
    assert [row[1:4:2] for row in table.rows] == [("2 tasks, 2 each", "71.00 [70.00, 72.00]")] * 2
    assert len(listed(table)) == 1
    tables = [variance_table(cell) for cell in decomposed(section)]
    assert [len(listed(table)) for table in tables] == [0, 1, 0, 0]


def test_figures_leave_it_out_and_their_captions_say_so(found: list[Run]) -> None:
    (lost,) = [run.id for run in found if run.outcome == "broken_round_trip"]
    drawn = figures(found, ("seeds", "curves", "ratios"))
    own = [figure for figure in drawn if figure.column.task == "glue/sst2"]
    assert {figure.kind for figure in own} == {"seeds", "curves", "ratios"}
    for figure in own:
        assert not figure.data["runs"].str.contains(lost).any()
        assert "broken_round_trip" in figure.caption


def test_the_isometry_table_has_its_line_without_numbers(found: list[Run]) -> None:
    data = isometry_data(found)
    (line,) = data[data["status"] == "broken_round_trip"].to_dict("records")
    assert str(line["reason"]).startswith(WHY)
    assert pd.isna(line["random_max"])
    assert WHY in isometry_markdown(data)


def test_the_page_counts_and_warns(found: list[Run], runs: Path) -> None:
    read = material(found, runs, most=0)
    text = page(found, read.sections, [None], [], read.details)
    assert "<dt>broken round trip</dt><dd>1</dd>" in text
    assert "1 of 9 runs did not survive their round trip" in text
    assert "99.00" not in text
