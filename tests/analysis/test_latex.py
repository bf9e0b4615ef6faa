from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.cells import sections
from analysis.differences import baseline_row, differences
from analysis.latex import escape, latex
from analysis.marks import BEST, SECOND
from analysis.publication import publication_table
from analysis.records import read_runs
from analysis.tables import Heading, Table, difference_table, significance_table
from tests.analysis.conftest import RecordWriter, record, write

TASKS = ("cola", "mrpc", "qnli", "rte", "sst2", "qqp")


def test_marks_are_bold_and_underlined_numbers() -> None:
    marks = {(0, 1): BEST, (1, 1): SECOND}
    text = latex(
        [Table("t", (Heading(("m",)), Heading(("a",))), (("x", "80.00 ± 1.00 (n=3)"), ("y", "70.00 (n=1)")), (), marks)]
    )
    assert r"x & \textbf{80.00} $\pm$ 1.00 (n=3) \\" in text
    assert r"y & \underline{70.00} (n=1) \\" in text


def test_a_wide_table_has_its_intervals_on_lines_of_their_own() -> None:
    cell = "-1.00 [-2.00, +0.50] (n=3)"
    narrow, wide = (
        latex([Table("t", (Heading(("m",)),) + (Heading(("a b",)),) * n, (("x, y [z]",) + (cell,) * n,), ())])
        for n in (2, 6)
    )
    assert r"x, y [z] & $-$1.00 [$-$2.00, +0.50] (n=3) & " in narrow
    stacked = r"\begin{tabular}[t]{@{}r@{}}$-$1.00\\{}[$-$2.00, +0.50]\\{}(n=3)\end{tabular}"
    assert wide.count(stacked) == 6
    assert r"x, y [z] & " in wide
    assert r"\shortstack{a\\b}" in wide


def test_characters_that_pdflatex_lacks_are_named() -> None:
    assert escape("θ → é ±†") == r"[U+03B8] [U+2192] é $\pm$$^{\dagger}$"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed (texlive-latex-recommended)")
def test_tables_compile_and_keep_to_the_page(runs: Path, predicted_run: RecordWriter, tmp_path: Path) -> None:
    roberta = {"key__backbone": "roberta-base", "config__backbone__name": "roberta-base", "protocol": "heldout"}
    for task in TASKS:
        for method, right in (("full", 380), ("lora", 330), ("head", 250)):
            for seed in range(2):
                predicted_run(method, seed, right=right + seed, task=f"glue/{task}", **roberta)
    write(
        runs, record(outcome="error", error={"type": "Error", "message": r"θ → ∞ in C:\dir_1 & {50 %} ~^#$"}, **roberta)
    )
    write(
        runs, record("lora", protocol="best_on_dev", **{name: roberta[name] for name in roberta if "backbone" in name})
    )
    tables = []
    for section, base in zip(found := sections(read_runs(runs).kept), baseline_row(found, "lora"), strict=True):
        assert base is not None
        own = differences(section, base)
        tables += [publication_table(section), difference_table(section, base, own)]
        tables += filter(None, [significance_table(section, base, own)])
    packages = r"\usepackage{booktabs}\usepackage{graphicx}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{latex(tables)}\end{{document}}"
    (tmp_path / "tables.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:]
    log = (tmp_path / "tables.log").read_text(encoding="latin-1")
    assert "Overfull" not in log
    assert "too large" not in log
