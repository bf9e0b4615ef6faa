from __future__ import annotations

import copy
import csv
import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main
from analysis.bench import read_benches
from analysis.bench_command import OUT
from tests.analysis.conftest import record, write

FILES = ["bench.csv", "bench.md", "bench.tex"]
# The machine is ten times slower in the third of five rounds; every method feels it.
LORA = [[1.0, 1.0, 5.0], [1.1, 1.1, 1.1], [10.0, 10.0, 10.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
OURS = [[2.0, 2.0, 2.0], [2.3, 2.3, 2.3], [20.0, 20.0, 20.0], [2.2, 2.2, 2.2], [2.0, 2.0, 2.0]]
SIZES = {"peak_bytes": 3 << 20, "trainable": 12, "theta": 8, "adapted_weights": 1000, "state_bytes": 4000}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --out files go below the folder in which the command is given."""
    monkeypatch.chdir(tmp_path)


def timed(turns: list[list[float]], part: str, update: float | None = None, **more: Any) -> dict[str, Any]:
    """What is measured of one method, with the same time of updates in every step if one is given."""
    rest = {} if update is None else {"updates": [[update for _ in turn] for turn in turns]}
    return {part: turns, **rest, **SIZES, **more}


def bench(**changes: Any) -> dict[str, Any]:
    """A record of training steps; `changes` set dotted keys, with `__` for a dot."""
    own = {"init_seconds": 0.25, "checkpoint_bytes": 123_456, "merge_seconds": 0.5}
    full = own | {"state_bytes": 0, "merge_seconds": None}
    measured = {
        "full": timed(LORA, "passes", 0.0, **full),
        "gpart": timed(OURS, "passes", 0.0, **own),
        "lora": timed(LORA, "passes", 0.0, **own),
    }
    found: dict[str, Any] = {
        "schema": 1,
        "bench": "small",
        "setting": {
            "architecture": {"model_type": "bert", "hidden_size": 16},
            "batch": 2,
            "targets": {"query": ["query"]},
            "baseline": "lora",
            "contenders": {"full": {}, "gpart": {"d": 8}, "lora": {"r": 2}, "head": {}},
            "authors": {},
        },
        "rounds": 5,
        "steps": 3,
        "threads": 1,
        "device": "cpu",
        "targets": {"query": {"measured": measured}},
        "provenance": {
            "git_sha": "0123456789abcdef0123456789abcdef01234567",
            "git_dirty": True,
            "packages": {"python": "3.11.2", "torch": "2.13.0", "transformers": "5.0", "peft": "0.21"},
            "hardware": {"processor": "a processor", "cores": 2, "memory_bytes": 8 << 30, "accelerator": None},
        },
    }
    for key, value in changes.items():
        *parents, last = key.split("__")
        target = found
        for name in parents:
            target = target[name]
        target[last] = value
    return found


def attached() -> dict[str, Any]:
    """A record of attachments: a plain pass is the baseline, and LoRA has no first use."""
    seconds = {name: [[value] for value in values] for name, values in {"a": [0.1, 0.2], "b": [0.3, 0.4]}.items()}
    held = {"held_bytes": 1 << 20}
    measured = {
        "gpart": timed(seconds["a"], "attach", first_use=seconds["b"], **held),
        "lora": timed(seconds["a"], "attach", **held),
        "one-pass": {"one_pass": [[0.2], [0.3]], "peak_bytes": 4 << 20, "adapted_weights": 1000, **held},
    }
    contenders = {"gpart": {"d": 8}, "lora": {"r": 2}, "one-pass": {"pass": "bincount"}}
    changes: dict[str, Any] = {"rounds": 2, "steps": 1, "device": "meta", "bench": "init"}
    found = bench(**changes, setting__baseline="one-pass", setting__contenders=contenders)
    return found | {"targets": {"all": {"measured": measured}}}


def put(folder: Path, content: Any, name: str = "small") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def lines(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / OUT / "bench.csv").open(newline="") as file:
        return {line["method"]: line for line in csv.DictReader(file)}


def test_ratios_are_taken_within_a_round_of_the_medians_over_its_steps(tmp_path: Path) -> None:
    (found,) = read_benches([put(tmp_path, bench())]).kept
    assert found.seconds("query", "lora") == pytest.approx([1, 1.1, 10, 1, 1])
    ratios = [2, 2.3 / 1.1, 2, 2.2, 2]
    assert found.ratio("query", "gpart").median == pytest.approx(statistics.median(ratios))
    interval = found.ratio("query", "gpart").interval
    assert interval is not None
    # Of five rounds the bootstrap's 2.5 % and 97.5 % are the least and the largest: each is the median of 5.8 %.
    assert interval == pytest.approx((min(ratios), max(ratios)))
    assert found.ratio("query", "lora") == (1, None)


def test_a_step_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    content = bench()
    content["targets"]["query"]["measured"]["gpart"]["updates"] = [[1.0] * 3] * 5
    assert main(["bench", str(put(tmp_path, content))]) == 0
    gpart = lines(tmp_path)["gpart"]
    assert (gpart["step_seconds"], gpart["passes_seconds"], gpart["updates_seconds"]) == ("3.2", "2.2", "1")


def test_tables_are_printed_and_written_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path, bench())
    assert main(["bench", str(path)]) == 0
    printed = capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / OUT).iterdir()) == FILES
    assert {p.name for p in tmp_path.iterdir()} == {"outputs", path.name}, "nothing is written beside the records"
    assert (tmp_path / OUT / "bench.md").read_text() in printed
    (row,) = (line.split("|") for line in printed.splitlines() if line.startswith("| gpart "))
    cells = [cell.strip() for cell in row[1:-1]]
    assert cells == ["gpart", "2,200", "2.000 [2.000, 2.200]", "2,200", "0.25", "0.5", "3", "4,000", "4", "123,456"]
    assert "| not applicable | " in printed  # full fine-tuning has nothing to merge
    assert "a processor" in printed
    assert "commit 0123456789ab with uncommitted changes" in printed
    tex = (tmp_path / OUT / "bench.tex").read_text()
    assert r"\toprule" in tex
    assert r"\shortstack{over\\lora} & " in tex
    gpart = lines(tmp_path)["gpart"]
    assert (gpart["ratio"], gpart["low"], gpart["high"]) == ("2", "2", "2.2")
    assert (gpart["state_bytes_per_weight"], gpart["attach_seconds"]) == ("4", "")


def test_what_an_attachment_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(put(tmp_path, attached(), "init"))]) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    table = {row[1].strip(): [cell.strip() for cell in row[2:-1]] for row in rows}
    assert table["gpart"][:4] == ["500", "2.000", "150", "350"]  # two rounds: no interval
    assert table["lora"][:4] == ["150", "0.583", "150", "not measured"]
    assert table["one-pass"][:4] == ["250", "1.000", "not measured", "not measured"]
    assert [table[name][4] for name in ("gpart", "one-pass")] == ["3", "4"]
    assert "checkpoint, bytes" not in table["method"]


def test_records_of_one_setting_stand_together_and_of_others_apart(tmp_path: Path) -> None:
    put(tmp_path, bench(), "first")
    put(tmp_path, bench(provenance__git_sha=None), "second")
    put(tmp_path, attached(), "init")
    assert main(["bench", str(tmp_path)]) == 0
    text = (tmp_path / OUT / "bench.md").read_text()
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == ["## init, targets all", "## small, targets query"]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in text.splitlines() if line.startswith("|")]
    assert [row for row in rows if row[0] == "gpart"][1:] == [["gpart", "first"], ["gpart", "second"]]
    assert "second: 5 rounds of 3 steps; torch 2.13.0, transformers 5.0, peft 0.21; no commit known" in text


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"setting__batch": 4}, "setting.batch (2, 4)"),
        ({"device": "cuda"}, 'device ("cpu", "cuda")'),
        ({"threads": 2}, "threads (1, 2)"),
        ({"provenance__hardware__cores": 8}, "hardware.cores (2, 8)"),
        ({"setting__contenders__gpart": {"d": 9}}, "method.gpart"),
    ],
)
def test_records_that_are_not_alike_are_refused_in_one_line(
    change: dict[str, Any], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, bench(), "first")
    put(tmp_path, bench(**change), "second")
    assert main(["bench", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: first, second: differ in ")
    assert named in line
    assert "accepted in one table: records of one setting, device, thread count and machine" in line
    assert not (tmp_path / OUT / "bench.md").exists()


def test_a_setting_of_more_methods_is_the_same_setting(tmp_path: Path) -> None:
    put(tmp_path, bench(), "first")
    put(tmp_path, bench(setting__contenders__head={"more": 1}), "second")
    assert main(["bench", str(tmp_path)]) == 0


def broken(**changes: Any) -> dict[str, Any]:
    """A record with changes to what was measured of gpart; None takes a key away."""
    content = bench()
    gpart = content["targets"]["query"]["measured"]["gpart"]
    gpart.update(changes)
    for name in [name for name, value in changes.items() if value is None]:
        del gpart[name]
    return content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (record(), "not a bench record (no bench, device, rounds, setting, steps, targets, threads)"),
        ([1], "not a bench record (no bench, "),
        (bench(schema=2), "schema=2: unknown version of a bench record; accepted: 1"),
        (bench(rounds=4), "no 4 rounds of 3 steps"),
        (broken(passes=[[1.0]] * 5), "query, gpart: no 5 rounds of 3 steps"),
        (broken(passes=None, updates=None), "query, gpart: no 5 rounds of 3 steps"),
        (broken(passes=[[0.0] * 3] * 5), "query, gpart: a time of 0 or less"),
        (broken(peak_bytes=None), "KeyError: 'peak_bytes'"),
        (bench(setting__baseline="head"), "query: no head, the baseline"),
        (
            bench(provenance__hardware=None),
            "provenance.hardware=null: not accepted; accepted: ",
        ),
        (bench(provenance={}), "provenance.hardware: missing"),
    ],
)
def test_what_is_no_bench_record_is_refused_in_one_line(
    content: Any, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path, content)
    assert main(["bench", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert reason in line
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("text", "reason"), [("{", "Expecting"), ('{"schema": NaN}', "NaN is not strict JSON")])
def test_files_that_are_no_json(text: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.json"
    path.write_text(text)
    assert main(["bench", str(path)]) == 2
    assert reason in capsys.readouterr().err


def test_nothing_to_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tmp_path)]) == 2
    assert "no *.json in it; accepted: " in capsys.readouterr().err
    assert main(["bench", str(tmp_path / "absent.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_same_records_give_the_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    paths = [put(tmp_path / "a", bench(), "first"), put(tmp_path / "a", bench(), "second")]
    copied = [put(tmp_path / f"{i}", json.loads(p.read_text()), p.stem) for i, p in enumerate(paths)]
    assert main(["bench", *map(str, paths), "--out", str(tmp_path / "one")]) == 0
    assert main(["bench", *map(str, reversed(copied)), str(paths[0]), "--out", str(tmp_path / "two")]) == 0
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_two_records_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = copy.deepcopy(bench())
    other["targets"]["query"]["measured"]["gpart"]["init_seconds"] = 0.5
    paths = [put(tmp_path / "a", bench()), put(tmp_path / "b", other)]
    assert main(["bench", *map(str, paths)]) == 1
    assert "another record of small in a file of this name" in capsys.readouterr().err


def test_formats_are_chosen(tmp_path: Path) -> None:
    path = put(tmp_path, bench())
    assert main(["bench", str(path), "--format", "latex,csv", "--out", str(tmp_path / "out")]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["bench.csv", "bench.tex"]


def test_all_takes_the_bench_records_beside_the_runs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(runs, record(config__test=False, metrics__test=None))
    assert main(["all", str(runs)]) == 0
    assert "skipped bench: " in capsys.readouterr().out
    assert not (runs / "bench").exists()
    path = put(runs / "bench", bench())
    assert main(["all", str(runs)]) == 0
    assert sorted(p.name for p in (runs / "bench").iterdir()) == [*FILES, path.name]
    path.write_text("{}")
    before = (runs / "bench" / "bench.md").read_bytes()
    (runs / "report.html").unlink()
    assert main(["all", str(runs)]) == 1
    assert f"error: {path}: not a bench record" in capsys.readouterr().err
    assert (runs / "report.html").is_file()
    assert (runs / "bench" / "bench.md").read_bytes() == before
