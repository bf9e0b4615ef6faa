from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest

from analysis.__main__ import main
from tests.analysis.conftest import record, write


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def two_tasks(runs: Path) -> Path:
    for seed in range(3):
        for task, score in (("glue/sst2", 0.9), ("glue/rte", 0.6)):
            write(runs, record("lora", seed, task, score=score + 0.01 * seed))
            write(runs, record("head", seed, task, score=score - 0.1))
    write(runs, record("full"))
    return runs


def test_aggregates_are_printed_and_written_with_their_runs(
    two_tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["aggregate", str(two_tasks), "--baseline", "head"]) == 0
    printed = capsys.readouterr().out
    assert "| lora, r=8 | 2 tasks, 3 each | 76.00 [" in printed
    assert "- full: missing: glue/rte." in printed
    rows = {line["row"]: line for line in lines(two_tasks / "aggregates" / "aggregates.csv")}
    assert (rows["lora, r=8"]["mean"], rows["lora, r=8"]["improvement"]) == ("76.0000", "1.0000")
    assert (rows["full"]["mean"], rows["full"]["reason"]) == ("", "missing: glue/rte")
    ids = {path.parent.name for path in two_tasks.rglob("record.json") if path.parts[-3] == "lora"}
    assert set(rows["lora, r=8"]["runs"].split()) == ids
    content = json.loads((two_tasks / "aggregates" / "aggregates.json").read_text())
    (profile,) = [entry for entry in content["profiles"] if entry["row"] == "lora, r=8"]
    assert set(profile["runs"]) == ids
    share = dict(zip(content["thresholds"], profile["share"], strict=True))
    assert (share[0.5], share[0.8], share[0.95]) == (1, 0.5, 0)


def test_one_task_has_nothing_to_aggregate(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs, record())
    assert main(["aggregate", str(runs)]) == 2
    assert "accepted: records of two tasks" in capsys.readouterr().err


def test_variance_is_printed_and_written_by_seed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = dict.fromkeys(("partition", "init", "head", "data", "split"), 0)
    write(runs, record(score=0.80))
    for level, score in ((1, 0.82), (2, 0.84)):
        write(runs, record(score=score, seeds=seeds | {"head": level}))
    for level, score in ((1, 0.83), (2, 0.77)):
        write(runs, record(score=score, seeds=seeds | {"data": level}))
    assert main(["variance", str(runs)]) == 0
    printed = capsys.readouterr().out
    assert "| head      | 2.00 [1.04, 12.57]" in printed
    assert "| partition | never varied (5 scored runs)" in printed
    rows = {line["seed"]: line for line in lines(runs / "variance" / "variance.csv")}
    assert float(rows["data"]["variance"]) == pytest.approx(0.0009)
    assert float(rows["head"]["share"]) == pytest.approx(4 / 13)
    assert (rows["head"]["levels"], len(rows["head"]["runs"].split())) == ("3", 3)
    assert json.loads((runs / "variance" / "variance.json").read_text())["cells"][0]["row"] == "gpart, d=4608"


def test_seeds_that_move_together_are_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(3):
        write(runs, record(seed=seed, score=0.8 + 0.01 * seed))
    assert main(["variance", str(runs)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: gpart, d=4608, glue/sst2: no component of variance can be told: partition moves together with"
    )
    assert line.endswith("accepted: runs of one cell that differ in one seed alone, such as seeds.head=0,1,2")
    assert not (runs / "variance").exists()


@pytest.mark.slow
def test_ten_thousand_records_are_tabulated(runs: Path, record_property: pytest.RecordProperty) -> None:
    # The time is reported, not asserted: three to seven seconds of processor time where it was measured.
    tasks = [f"glue/{name}" for name in ("cola", "sst2", "mrpc", "stsb", "qnli", "rte", "mnli", "qqp")]
    places = [(d, task, seed) for d in range(1, 64) for task in tasks for seed in range(20)][:10_000]
    for d, task, seed in places:
        write(runs, record("gpart", seed, task, d=d, score=0.5 + 0.001 * ((7919 * seed + d) % 97)))
    started = time.process_time()
    assert main(["tables", str(runs)]) == 0
    seconds = time.process_time() - started
    record_property("seconds", seconds)
    print(f"10,000 records tabulated in {seconds:.1f} s of processor time")
    assert len(lines(runs / "tables" / "tables.csv")) == 63 * len(tasks)
