from __future__ import annotations

import csv
from pathlib import Path

import pytest

from analysis.__main__ import main
from analysis.plots import KINDS
from tests.analysis.conftest import record, write
from tests.analysis.plots.conftest import isometry, measured


def test_plots_writes_each_figure_with_its_numbers_and_its_caption(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(runs, record("lora", score=0.8125))
    assert main(["plots", str(runs), "--kinds", "pareto,capacity,ratios", "--format", "png,svg"]) == 0
    name = "pareto--minilm-l6--heldout--equal_budget--glue-sst2--local--accuracy"
    written = {path.name: path.read_bytes() for path in (runs / "plots").iterdir()}
    assert set(written) == {f"{name}.csv", f"{name}.png", f"{name}.svg", "captions.md"}
    assert written[f"{name}.png"].startswith(b"\x89PNG")
    (line,) = csv.DictReader(written[f"{name}.csv"].decode().splitlines())
    assert (line["row"], line["parameters"], line["score"], line["runs"]) == (
        "lora, r=8",
        "147456",
        "81.25",
        path.parent.name,
    )
    assert f"`{name}`" in written["captions.md"].decode()
    printed = capsys.readouterr().out
    assert "1 figures written" in printed
    assert f"skipped capacity: needs {KINDS['capacity'].needs}" in printed
    assert "skipped ratios: needs runs made with diagnostics=isometry" in printed


def test_trials_of_a_search_are_counted_and_not_drawn(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs, record(config__test=False, metrics__test=None))
    assert main(["plots", str(runs), "--kinds", "pareto"]) == 0
    printed = capsys.readouterr().out
    assert "0 figures" in printed
    assert "Left out: 1 runs made with test=false" in printed


@pytest.mark.parametrize(
    ("option", "value", "accepted"),
    [("--kinds", "pareto,pie", ", ".join(KINDS)), ("--format", "gif", "png, pdf, svg")],
)
def test_unknown_kinds_and_formats_are_refused_with_the_list(
    option: str, value: str, accepted: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(runs, record())
    with pytest.raises(SystemExit) as stopped:
        main(["plots", str(runs), option, value])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert value.split(",")[-1] in error
    assert f"accepted: {accepted}" in error
    assert not (runs / "plots").exists()


def test_isometry_tabulates_every_run_that_has_it(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [write(runs, measured("lora", seed)) for seed in (0, 1)]
    write(runs, measured("head"))
    failed = {"status": "failed", "reason": "ValueError: no", "seconds": 0.1, "traceback": "traceback-isometry.txt"}
    write(runs, record("unilora", diagnostics={"isometry": failed}))
    write(runs, record("full"))
    assert main(["isometry", str(runs), "--format", "svg"]) == 0
    table = (runs / "isometry" / "isometry.md").read_text()
    assert table in capsys.readouterr().out
    lines = {cells[1]: cells for line in table.splitlines() if (cells := [c.strip() for c in line.split("|")])[1:]}
    lora, ratios = lines["lora, r=8"], [isometry("lora", seed)["ratios"] for seed in (0, 1)]
    assert lora[2:5] == ["glue/sst2 (local, full)", "2", "nonlinear"]
    low, _, high = lora[5].split(", ")
    assert float(low) == pytest.approx(min(found["random"]["min"] for found in ratios), rel=1e-5)
    assert float(high) == pytest.approx(max(found["random"]["max"] for found in ratios), rel=1e-5)
    assert lora[7:9] == ["∞", "3"]
    assert set(lora[14].split()) == {path.parent.name for path in paths}
    assert lines["head"][4:6] == ["not applicable: no trained values beside the head", "-"]
    assert lines["unilora, d=4608"][4] == "failed: ValueError: no"
    assert "full" not in lines


def test_isometry_csv_has_each_run_with_its_own_numbers(runs: Path) -> None:
    for seed in (0, 1):
        write(runs, measured("gpart", seed))
    assert main(["isometry", str(runs), "--format", "svg"]) == 0
    with (runs / "isometry" / "isometry.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len({line["run"] for line in lines}) == 2
    for line in lines:
        assert float(line["trained_max"]) == 1
        assert float(line["gram_diagonal"]) == 1e-16
        assert float(line["condition"]) == 1
        assert int(line["dead_coordinates"]) == 0
    kinds = {path.name.split("--")[0] for path in (runs / "isometry").glob("*.svg")}
    assert kinds == {"ratios", "jacobian", "spectra", "theta", "occupancy"}


def test_numbers_near_one_show_their_distance_from_it(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = isometry("gpart")
    found["precision"]["float32"]["ratios"] |= {"min": 1 - 2.5e-7, "max": 1.25}
    write(runs, measured("gpart", diagnostics={"isometry": found}))
    assert main(["isometry", str(runs), "--format", "svg"]) == 0
    assert "| 1-2.5e-07, 1.25 |" in capsys.readouterr().out


def test_isometry_without_a_run_that_has_it_is_status_2(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs, record())
    assert main(["isometry", str(runs)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("no run has diagnostics.isometry; accepted: runs made with diagnostics=isometry")
    assert not (runs / "isometry").exists()
