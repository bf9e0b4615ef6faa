"""Names from outside may hold anything: they are shown as they stand, and end nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main
from analysis.markdown import escaped
from analysis.render import inert, to_csv
from tests.analysis.conftest import identified, record, write
from tests.analysis.plots.conftest import history, isometry

NASTY = "<img src=x onerror=alert(1)>|`a`*b*\n[c](javascript:d)\x1b[31m$\\frac{"


def named(name: str, seed: int = 0) -> dict[str, Any]:
    """A record in which everything that can be is called so."""
    content = record("lora", seed, history=history(), diagnostics={"isometry": isometry("lora", seed)})
    content = json.loads(json.dumps(content))
    content["config"]["method"]["name"] = name
    for section in ("backbone", "task"):
        content["config"][section]["name"] = content["key"][section] = name
    content["key"]["subset"] = name
    return identified(content)


def put(folder: Path, content: dict[str, Any]) -> None:
    path = folder / content["id"]
    path.mkdir()
    (path / "record.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gpart, d=4608 ± 0.5 [+1.00, -2.00] (n=2)", "gpart, d=4608 ± 0.5 [+1.00, -2.00] (n=2)"),
        ("matthews_correlation, p < 0.05, 3 > 2, A & B", "matthews_correlation, p < 0.05, 3 > 2, A & B"),
        ("<b>", r"\<b>"),
        ("a|b", r"a\|b"),
        ("`a` *b* _c_", r"\`a\` \*b\* \_c\_"),
        ("[a](b)", r"[a]\(b)"),
        ("&lt;", r"\&lt;"),
        ("two\nlines\x1b[0m", r"two lines\\x1b[0m"),
        ("# a", r"\# a"),
    ],
)
def test_markdown_shows_a_text_as_it_stands(text: str, shown: str) -> None:
    assert escaped(text) == shown


@pytest.mark.parametrize("field", ["-0.5", "+1e-3", -0.5, None, "lora", "a=b"])
def test_numbers_and_names_stay_as_they_are_in_csv(field: object) -> None:
    assert inert(field) == field


@pytest.mark.parametrize("field", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1"])
def test_no_field_of_csv_is_a_formula(field: str) -> None:
    assert to_csv([[field]]).lstrip('"').startswith("'")


def test_nothing_of_a_name_is_active_in_tables(runs: Path) -> None:
    put(runs, named(NASTY))
    put(runs, named("=1+1"))
    assert main(["tables", str(runs)]) == 0
    text = (runs / "tables" / "tables.md").read_text()
    assert "<img" not in text.replace(r"\<img", "")
    assert "](" not in text
    assert "\x1b" not in text
    assert text.count("\n## ") + text.startswith("## ") == 2
    with (runs / "tables" / "tables.csv").open(newline="") as file:
        names = {line["method"] for line in csv.DictReader(file)}
    assert names == {NASTY, "'=1+1"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [NASTY, "x" * 400, "../../x$\N{SNOWMAN}\u202e"], ids=ascii)
def test_everything_is_made_whatever_the_names(name: str, runs: Path) -> None:
    for seed in (0, 1):
        put(runs, named(name, seed))
    assert main(["all", str(runs)]) == 0
    assert (runs / "report.html").is_file()
    assert {path.suffix for path in (runs / "plots").iterdir()} == {".csv", ".md", ".pdf", ".png", ".svg"}


@pytest.mark.slow
def test_runs_of_two_subsets_give_everything_else(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        for method in ("gpart", "head"):
            write(runs, record(method, seed, subset=f"test:40-of-872@seed{seed}", config__data__test_rows=40))
    assert main(["all", str(runs)]) == 0
    printed = capsys.readouterr().out
    assert "skipped aggregates: " in printed
    assert {path.name for path in runs.iterdir()} >= {"tables", "plots", "report.html"}


def test_nothing_to_aggregate_is_one_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        write(runs, record(seed=seed, subset=f"test:40-of-872@seed{seed}", config__data__test_rows=40))
    assert main(["aggregate", str(runs)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"error: {runs}: glue/sst2: more than one column, which are no two tasks; accepted: one column per task"
    )
    assert not (runs / "aggregates").exists()
