from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.__main__ import main
from analysis.differences import baseline_row
from analysis.records import read_runs
from analysis.report.drilldown import MOST_POINTS, curves, portable
from analysis.report.material import material
from analysis.report.page import Plot, page
from schema.record import History
from tests.analysis.conftest import record, write, write_predictions
from tests.analysis.plots.conftest import isometry
from tests.analysis.report.conftest import EVIL, HISTORY, fill


class Reader(HTMLParser):
    """Tags with their attributes, and the texts of scripts with an id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, str] = {}
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id") if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.blocks[self._inside] = self.blocks.get(self._inside, "") + data


def drawn(folder: Path, baseline: str | None = None, plots: Sequence[Plot] = ()) -> str:
    """The page without plots of its own, which take the most time."""
    found = material(read_runs(folder).kept, folder, most=0)
    rows = baseline_row(found.sections, baseline) if baseline else [None] * len(found.sections)
    return page(found.runs, found.sections, rows, plots, found.details)


@pytest.fixture(scope="module")
def text(filled: Path) -> str:
    return drawn(filled, "head")


def cells_of(text: str) -> list[dict[str, Any]]:
    return json.loads(Reader(text).blocks["data"])["cells"]


def runs_of(text: str) -> dict[str, dict[str, Any]]:
    """What the page says of every run, by id, of the blocks of all cells in turn."""
    content = {name: block for name, block in Reader(text).blocks.items() if name.startswith("block-")}
    blocks = [json.loads(gzip.decompress(base64.b64decode(content[f"block-{i}"]))) for i in range(len(content))]
    together = json.loads(Reader(text).blocks["data"])["together"]
    for cell in cells_of(text):
        ids = [run["id"] for block in blocks[cell["block"] :][: -(-len(cell["runs"]) // together)] for run in block]
        assert ids == cell["runs"]
    return {run["id"]: run for block in blocks for run in block}


@pytest.mark.slow
def test_the_page_with_its_plots_asks_for_nothing_else(filled: Path) -> None:
    assert main(["report", str(filled), "--baseline", "head"]) == 0
    tags = Reader((filled / "report.html").read_text(encoding="utf-8")).tags
    assert [a["alt"] for tag, a in tags if tag == "img"]
    assert not [(tag, a) for tag, a in tags if any(name.startswith("on") for name in a)]
    addresses = [a[name] or "" for _, a in tags for name in ("src", "href") if name in a]
    assert addresses
    assert [address for address in addresses if not address.startswith(("#", "data:"))] == []
    scripts = [attributes.get("type") for tag, attributes in tags if tag == "script"]
    assert scripts.count(None) == 1
    assert set(scripts) == {None, "application/json", "text/plain"}


def test_every_run_of_every_cell_is_in_the_data_with_what_its_record_says(filled: Path, text: str) -> None:
    runs, cells = runs_of(text), cells_of(text)
    records = {r["id"]: (path, r) for path in filled.rglob("record.json") for r in [json.loads(path.read_text())]}
    assert set(runs) == {run for cell in cells for run in cell["runs"]} == set(records)
    for identity, run in runs.items():
        path, content = records[identity]
        assert run["record"] == path.relative_to(filled).as_posix()
        assert run["config"] == portable(content["config"])
        assert run["sizes"] == content["sizes"]
        assert run["error"] == content["error"]
    cell = next(cell for cell in cells if cell["row"] == "lora, r=8")
    assert cell["numbers"][0] == ["Score", "85.00 ± 3.54 [53.23, 116.77] n=2, over seeds"]
    assert cell["numbers"][1][1].startswith("+12.25 [")


def test_text_from_records_is_escaped(text: str) -> None:
    assert EVIL not in text
    assert "<img src=x" not in text
    assert EVIL in {run["error"]["message"] for run in runs_of(text).values() if run["error"]}
    assert EVIL in {cell["row"] for cell in cells_of(text)}


def test_summary_counts_and_warns(text: str) -> None:
    counts = dict(re.findall(r"<dt>([\w ]+)</dt><dd>([\d,]+)</dd>", text))
    # 6 scored on sst2, 2 on rte, one diverged, one failed, one unsearched; on rte two of four rows have no run.
    assert counts == {"runs": "11", "ok": "9", "diverged": "1", "failed": "1", "cells missing": "2"}
    for caution in (
        "1 of 11 runs are of the track unsearched",
        "3 of 7 cells rest on a single scored run",
        "2 of 11 runs have no score (1 diverged, 1 error)",
        "1 of 11 runs come from a checkout with uncommitted changes",
    ):
        assert caution in text


def test_different_environments_within_a_column_are_warned_of(runs: Path) -> None:
    write(runs, record(seed=0))
    write(runs, record(seed=1, provenance__packages={"python": "3.11.2", "torch": "2.14.0"}))
    assert "Different package versions (torch) within 1 of 1 columns" in drawn(runs)


def test_no_baseline_no_differences(filled: Path, text: str) -> None:
    assert "Differences to" not in drawn(filled)
    assert "Differences to head" in text


def test_the_table_as_a_paper_prints_it_has_averages_and_marks(runs: Path) -> None:
    for task, right in (("glue/sst2", 180), ("glue/rte", 170)):
        for method, score in (("lora", right), ("head", 100)):
            label = np.arange(200) % 2
            prediction = np.where(np.arange(200) < score, label, 1 - label)
            path = write(runs, record(method, task=task, score=score / 200))
            write_predictions(path, prediction, label, np.arange(200))
    text = drawn(runs)
    assert ">87.50 (2 tasks)<" in text
    assert len(re.findall(r'class="number best">(90|85)\.00', text)) == 2


def test_aggregates_and_variances_stand_folded_where_runs_give_them(runs: Path) -> None:
    for task, score in (("glue/sst2", 0.9), ("glue/rte", 0.6)):
        for method in ("lora", "head"):
            write(runs, record(method, task=task, score=score))
    assert "Which seeds the scores depend on" not in drawn(runs)
    for seed in range(1, 3):
        seeds = dict.fromkeys(("partition", "init", "head", "data", "split"), 0) | {"head": seed}
        for task, score in (("glue/sst2", 0.9), ("glue/rte", 0.6)):
            write(runs, record("lora", task=task, score=score + 0.01 * seed, seeds=seeds))
            write(runs, record("head", task=task, score=score - 0.1, seeds=seeds))
    text = drawn(runs, "head")
    assert re.findall("<summary>(Across tasks|Which seeds.*)</summary>", text) == [
        "Across tasks",
        "Which seeds the scores depend on",
    ]
    assert len(re.findall(r">76\.00 \[7", text)) == 2  # interquartile mean and mean of lora
    assert "probability of improvement over head" in text
    assert text.count("lora, r=8 on glue/sst2 (local, full): accuracy by seed") == 2  # of the region and the heading
    assert ">1.00 [0.52, 6.28]<" in text
    assert text.count("Standard deviation of the score x 100 that one seed brings") == 1
    assert "Across tasks" not in drawn(runs / "glue-sst2")


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "elsewhere" / "second"
    first.mkdir()
    fill(first)
    shutil.copytree(first, tmp_path / "copy")
    for path in sorted((tmp_path / "copy").rglob("record.json"), reverse=True):
        target = second / path.parent.relative_to(tmp_path / "copy")
        target.parent.mkdir(parents=True, exist_ok=True)
        path.parent.rename(target)
    text = drawn(first, "head")
    assert drawn(first, "head") == text
    assert drawn(second, "head") == text
    assert str(tmp_path) not in text


def test_curves_are_thinned_keep_their_ends_and_say_so() -> None:
    found = curves(History.model_validate(HISTORY), "accuracy")
    points = found["loss"]["points"]
    assert (len(points), found["loss"]["of"]) == (MOST_POINTS, 300)
    assert (points[0], points[-1]) == ([0.01, 2.0], [3.0, 0.0066667])
    assert found["selection"] == {"name": "accuracy", "of": 3, "points": [[1, 71.0], [2, 72.0], [3, 73.0]]}
    assert curves(History.model_validate(HISTORY), "strict")["selection"]["points"][1] == [2, 0.5]
    short = History.model_validate({**HISTORY, "steps": HISTORY["steps"][:8]})
    assert curves(short, "accuracy")["loss"]["points"][6] == [0.07, None]


def test_diagnostics_keep_numbers_and_leave_out_what_is_plotted(text: str) -> None:
    runs = runs_of(text)
    (found,) = [run["diagnostics"]["isometry"] for run in runs.values() if run["diagnostics"]]
    recorded = isometry("gpart")
    assert recorded["path"]
    assert set(found["ratios"]["random"]) == set(recorded["ratios"]["random"]) - {"values"}
    assert found["ratios"]["random"]["mean"] == recorded["ratios"]["random"]["mean"]
    assert [point["largest"] for point in found["jacobian"]] == [point["largest"] for point in recorded["jacobian"]]
    assert "path" not in found
    assert "counts" not in found["occupancy"]


def test_integers_that_a_script_cannot_hold_are_text() -> None:
    assert portable({"a": [2**60, 2**53, True]}) == {"a": [str(2**60), 2**53, True]}


def test_plots_are_images_with_captions(filled: Path) -> None:
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>"
    text = drawn(filled, plots=[Plot(read_runs(filled).kept[0].column, "A <plot>", "What it shows", (2, 1), svg)])
    (image,) = [attributes for tag, attributes in Reader(text).tags if tag == "img"]
    assert (image["loading"], image["width"], image["height"]) == ("lazy", "192", "96")
    assert (image["alt"] or "").startswith("A <plot>: ")
    assert (image["src"] or "").startswith("data:image/svg+xml;base64,")
    assert "What it shows" in text


def test_only_trials_make_a_page_that_says_so(runs: Path) -> None:
    write(runs, record(config__test=False, metrics__test=None))
    text = drawn(runs)
    assert "there is no table" in text
    assert "search trials, left out" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--baseline", "absent"], "--baseline=absent: no such row"), (["--out", "record.json"], "ending in .html")],
)
def test_bad_input_is_status_2_and_one_line(
    filled: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(filled), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
