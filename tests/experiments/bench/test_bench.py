"""What the bench says about its measurements, and one measurement of tiny models."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from experiments.__main__ import main
from experiments.bench import command
from experiments.bench.attachment import Attachment
from experiments.bench.measured import Measured, Sizes
from experiments.bench.setting import Job, checked, setting_named
from experiments.bench.summary import Compared
from experiments.configuration import groups
from experiments.errors import SpecError
from schema.bench import BenchRecord

TINY: dict[str, Any] = {
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


ATTACHED: dict[str, Any] = {
    "architecture": {
        "model_type": "llama",
        "vocab_size": 50,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    },
    "head": [],
    "device": "meta",
    "rounds": 2,
    "steps": 1,
    "targets": {"all-linear": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]},
    "baseline": "one-pass",
    "contenders": {
        "one-pass": {"pass": "bincount", "d": 32},
        "lora": {"_target_": "peft.LoraConfig", "r": 2},
        "gpart-block": {"_target_": "gpart.GPartConfig", "d": 32, "scheme": "block"},
    },
    "authors": {},
}
WEIGHTS = 2 * (4 * 16 * 16 + 3 * 16 * 24)


def attachment(**config: Any) -> Attachment:
    common = {key: ATTACHED[key] for key in ("architecture", "head", "device")}
    job = {**common, "targets": ATTACHED["targets"]["all-linear"], "threads": 1, "config": config}
    return Attachment(Job.model_validate(job))


def measured(passes: list[list[float]], updates: list[list[float]], peak_bytes: int = 100) -> Measured:
    turns = [{"passes": a, "updates": b} for a, b in zip(passes, updates, strict=True)]
    return Measured(turns=turns, peak_bytes=peak_bytes, sizes=Sizes(state_bytes=8, adapted_weights=4))


def test_ratios_are_taken_within_a_round() -> None:
    # The machine is ten times slower in the second of three rounds; both contenders feel it.
    results = {
        "lora": measured([[1, 1, 5], [10, 10, 10], [1, 1, 1]], [[1, 1, 1], [10, 10, 10], [1, 1, 1]]),
        "gpart": measured([[2, 2, 2], [20, 20, 20], [2, 2, 2]], [[1, 1, 1], [10, 10, 10], [1, 1, 1]], peak_bytes=130),
    }
    found = Compared(results, "lora").summary
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
        (["llama-7b-init", "--device", "cuda"], "--device=cuda: llama-7b-init is measured on meta; accepted: no"),
        (["roberta-6", "--targets", "all"], "--targets=all: unknown; accepted: any of query-value, all-linear"),
        (["roberta-6", "--authors", "nowhere"], "--authors=nowhere: no peft/tuners/gpart in it"),
        pytest.param(
            ["roberta-6", "--device", "cuda"],
            "--device=cuda: this machine has none that torch can use; accepted: cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)
def test_bad_input_is_one_line_and_measures_nothing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["bench", *arguments, "--out", str(tmp_path / "bench.json")]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_setting_names_its_baseline() -> None:
    for name in groups.options("bench"):
        setting = setting_named(name)
        assert setting.baseline in setting.contenders
        assert all(contender.startswith("authors") for contender in setting.authors)
        path = groups.found("bench", name)
        assert path is not None
        assert setting.model_dump(exclude_unset=True) == yaml.safe_load(path.read_text()), "the record has all of it"


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"contender": {}},
            ["bench=tiny: contender: unknown key (did you mean contenders?); accepted: architecture, "],
        ),
        (
            {"rounds": 0, "head": "classifier"},
            ["bench=tiny: head=classifier: not", "bench=tiny: rounds=0: not accepted"],
        ),
        ({"baseline": "vera"}, ["bench=tiny: baseline=vera: no contender; accepted: one of lora, gpart, full"]),
        ({"batch": None}, ["bench=tiny: batch: missing; accepted: an integer of at least 1"]),
        ({"architecture": {"model_type": "bert"}}, ["bench=tiny: architecture.vocab_size: missing"]),
    ],
)
def test_every_wrong_key_of_a_setting_is_named(changes: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(SpecError) as refused:
        checked("tiny", {**TINY, **changes})
    assert len(refused.value.errors) == len(lines)
    assert all(error.startswith(line) for error, line in zip(refused.value.errors, lines, strict=True))


@pytest.mark.parametrize("scheme", ["block", "hash"])
def test_an_attachment_is_timed_in_two_parts_and_keeps_what_its_partition_does(scheme: str) -> None:
    contender = attachment(_target_="gpart.GPartConfig", d=32, scheme=scheme, cache_ids=False)
    contender.warm_up(1)
    assert contender.sizes().adapted_weights == WEIGHTS // 2
    times = contender.turn(2)
    assert {part: len(seconds) for part, seconds in times.items()} == {"attach": 2, "first_use": 2}
    assert min(times["attach"] + times["first_use"]) > 0
    state = 12 * -(-WEIGHTS // 32) if scheme == "block" else 0
    assert contender.sizes() == Sizes(trainable=32, theta=32, adapted_weights=WEIGHTS, state_bytes=state)
    assert contender.adapted is not None
    assert all(parameter.is_meta for parameter in contender.adapted.model.parameters())


def test_a_method_without_a_partition_has_no_first_use() -> None:
    contender = attachment(_target_="peft.LoraConfig", r=2)
    assert list(contender.turn(1)) == ["attach"]
    assert contender.sizes().theta == 2 * 2 * (4 * (16 + 16) + 3 * (16 + 24))


@pytest.mark.parametrize("kind", ["bincount", "copy"])
def test_a_plain_pass_is_over_the_weights_that_methods_adapt(kind: str) -> None:
    contender = attachment(**{"pass": kind, "d": 32})
    contender.warm_up(1)
    assert [len(seconds) for seconds in contender.turn(3).values()] == [3]
    assert contender.sizes() == Sizes(adapted_weights=WEIGHTS)
    if kind == "copy":
        assert contender.out.equal(contender.ids)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not forget a peak")
def test_memory_counts_from_the_last_time_that_it_was_forgotten() -> None:
    contender = attachment(**{"pass": "copy", "d": 32})
    gc.collect()  # what is collected between the two measurements would make room for what is allocated
    held = contender.forget_peak()
    torch.ones(1 << 24).sum()
    assert contender.peak() > held + (1 << 25)
    assert contender.forget_peak() < held + (1 << 25)


@pytest.mark.parametrize("place", ["", "file/below.json", "file/far/below.json"])
def test_a_record_that_cannot_be_written_is_refused_before_anything_is_measured(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    assert main(["bench", "roberta-6", "--out", str(tmp_path / place)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --out={tmp_path / place}: cannot be written; accepted: a file in a folder")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_a_measurement_of_attachments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "setting_named", lambda name: checked(name, ATTACHED))
    out = tmp_path / "tiny.json"
    options: dict[str, Any] = {"only": None, "targets": None, "rounds": None, "steps": None, "threads": 1}
    text = command.bench("tiny", out=out, device=None, authors=None, **options)
    result = json.loads(out.read_text(encoding="utf-8"))
    assert (result["device"], result["rounds"], result["steps"]) == ("meta", 2, 1)
    assert "| attach ms | first use ms |" in text
    found = result["targets"]["all-linear"]["measured"]
    assert [len(turn) for turn in found["gpart-block"]["first_use"]] == [1, 1]
    assert found["gpart-block"]["held_bytes"] <= found["gpart-block"]["peak_bytes"]


@pytest.mark.slow
def test_a_measurement_of_tiny_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "setting_named", lambda name: checked(name, TINY))
    out = tmp_path / "bench" / "tiny.json"
    options: dict[str, Any] = {"only": None, "targets": None, "rounds": 2, "steps": 2, "threads": 1, "device": "cpu"}
    text = command.bench("tiny", out=out, authors=None, **options)
    result = json.loads(out.read_text(encoding="utf-8"))
    assert text.count("\n") == 1 + len(TINY["contenders"])
    assert "| targets | method | step ms | over lora | passes ms | init s | merge s | peak MiB |" in text
    assert result["setting"] == TINY
    read = BenchRecord.model_validate(result)
    assert (read.setting.baseline, list(read.targets)) == ("lora", ["query-value"])
    found = result["targets"]["query-value"]["measured"]
    assert [len(turn) for turn in found["gpart"]["passes"]] == [2, 2]
    assert (found["gpart"]["theta"], found["gpart"]["adapted_weights"]) == (32, 512)
    assert found["gpart"]["state_bytes"] == 12 * 512 // 32
    assert found["lora"]["state_bytes"] == found["full"]["state_bytes"] == 0
    assert found["full"]["merge_seconds"] is None
    assert found["lora"]["merge_seconds"] > 0
