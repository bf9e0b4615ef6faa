"""What the bench says about its measurements, and one measurement of tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.__main__ import main
from experiments.bench import command
from experiments.bench.command import setting_named, summary, table

TINY = {
    "architecture": {
        "model_type": "bert",
        "vocab_size": 50,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "num_labels": 2,
    },
    "head": ["classifier"],
    "batch": 2,
    "length": 5,
    "targets": {"query-value": ["query", "value"]},
    "baseline": "lora",
    "contenders": {
        "lora": {"_target_": "peft.LoraConfig", "r": 2},
        "gpart": {"_target_": "gpart.GPartConfig", "d": 32, "scheme": "block"},
        "full": {"_target_": "baselines.FullFineTuning"},
    },
    "authors": {},
}


def measured(passes: list[list[float]], updates: list[list[float]], **more: Any) -> dict[str, Any]:
    return {"passes": passes, "updates": updates, "peak_bytes": 100, "state_bytes": 8, "adapted_weights": 4, **more}


def test_ratios_are_taken_within_a_round() -> None:
    # The machine is ten times slower in the second of three rounds; both contenders feel it.
    results = {
        "lora": measured([[1, 1, 5], [10, 10, 10], [1, 1, 1]], [[1, 1, 1], [10, 10, 10], [1, 1, 1]]),
        "gpart": measured([[2, 2, 2], [20, 20, 20], [2, 2, 2]], [[1, 1, 1], [10, 10, 10], [1, 1, 1]], peak_bytes=130),
    }
    found = summary(results, "lora")
    assert found["lora"]["step_ratio"] == 1
    assert found["gpart"]["step_ratio"] == 1.5
    assert (found["gpart"]["step_seconds"], found["gpart"]["pass_seconds"]) == (3, 2)
    assert found["gpart"]["peak_over_baseline_bytes"] == 30
    assert found["gpart"]["state_bytes_per_weight"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "bench=nothing: unknown; accepted: "),
        (["roberta-6", "--contenders", "lora,dora"], "--contenders=dora: unknown; accepted: any of lora, "),
        (["roberta-6", "--contenders", "full"], "--contenders: lora, whose times the ratios are over"),
        (["roberta-6", "--targets", "all"], "--targets=all: unknown; accepted: any of query-value, all-linear"),
        (["roberta-6", "--authors", "nowhere"], "--authors=nowhere: no peft/tuners/gpart in it"),
    ],
)
def test_bad_input_is_one_line_and_measures_nothing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["bench", *arguments, "--out", str(tmp_path / "bench.json")]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_setting_names_its_baseline() -> None:
    for name in command.options("bench"):
        setting = setting_named(name)
        assert setting["baseline"] in setting["contenders"]
        assert all(contender.startswith("authors") for contender in setting["authors"])


@pytest.mark.slow
def test_a_measurement_of_tiny_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "setting_named", lambda name: TINY)
    out = tmp_path / "bench" / "tiny.json"
    options: dict[str, Any] = {"only": None, "targets": None, "rounds": 2, "steps": 2, "threads": 1, "device": "cpu"}
    text = command.bench("tiny", out=out, authors=None, **options)
    result = json.loads(out.read_text(encoding="utf-8"))
    assert sorted(text.splitlines()) == sorted(table(result).splitlines())
    found = result["targets"]["query-value"]["measured"]
    assert [len(turn) for turn in found["gpart"]["passes"]] == [2, 2]
    assert (found["gpart"]["theta"], found["gpart"]["adapted_weights"]) == (32, 512)
    assert found["gpart"]["state_bytes"] == 24 * 512 // 32
    assert found["lora"]["state_bytes"] == found["full"]["state_bytes"] == 0
    assert found["full"]["merge_seconds"] is None
    assert found["lora"]["merge_seconds"] > 0
