from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.__main__ import main
from analysis.cells import sections
from analysis.published import AVERAGE, PATH, Published, beside, read_published
from analysis.records import InputError, read_runs
from tests.analysis.conftest import record, write


def found(method: str, backbone: str | None, task: str, **wanted: Any) -> list[Published]:
    return [
        entry
        for entry in read_published()
        if (entry.method, entry.backbone, entry.task) == (method, backbone, task)
        and all(getattr(entry, name) == value for name, value in wanted.items())
    ]


@pytest.mark.parametrize(
    ("method", "backbone", "task", "protocol", "value", "spread", "parameters"),
    [
        ("unilora", "roberta-base", "glue/cola", "best_on_dev", 64.6, 1.0, 23_000),
        ("unilora", "roberta-large", "glue/rte", "best_on_dev", 86.6, 1.6, 23_000),
        ("full", "roberta-base", "glue/qnli", "best_on_dev", 92.8, None, 125_000_000),
        ("vera", "roberta-base", "glue/cola", "best_on_dev", 65.6, 0.8, 43_000),
        ("lora_xs", "roberta-large", "glue/rte", "best_on_dev", 88.1, 0.3, 25_000),
        ("tied_lora", "roberta-large", "glue/stsb", "best_on_dev", 90.8, 0.3, 66_000),
        ("vblora", "roberta-large", "glue/mrpc", "best_on_dev", 91.4, 0.6, 162_000),
        ("bitfit", "roberta-base", "glue/mrpc", None, 92.7, None, 100_000),
        ("gpart", "roberta-base", AVERAGE, "heldout", 83.7, None, 23_000),
        ("gpart", "vit-large", AVERAGE, "heldout", 88.14, None, 144_000),
        ("unilora", "vit-base", "vision/fgvc_aircraft", "test", 50.36, 0.63, 72_000),
        ("full", "vit-large", "vision/stanford_cars", "test", 88.90, 0.26, 303_300_000),
        ("head", "vit-base", "vision/stanford_cars", "test", 25.76, 0.28, None),
        ("unilora", "gemma-7b", "math/gsm8k", "test", 75.59, None, 520_000),
        ("vblora", "mistral-7b", "math/math", "test", 17.90, None, 650_000),
        ("unilora", "llama-2-13b", "mt_bench/multi_turn", None, 4.43, None, 1_000_000),
        ("lora", "llama-3.2-3b", "math/gsm8k", "test", 47.84, None, 9_180_000),
    ],
)
def test_numbers_are_those_of_the_papers(
    method: str, backbone: str, task: str, protocol: str, value: float, spread: float, parameters: int
) -> None:
    (entry,) = [
        e for e in found(method, backbone, task, protocol=protocol, parameters=parameters) if "log" not in e.variant
    ]
    assert (entry.value, entry.spread) == (value, spread)


def test_what_is_not_known_is_a_gap() -> None:
    cars = found("gpart", None, "vision/stanford_cars")
    assert [(entry.value, entry.spread, entry.n, entry.parameters) for entry in cars] == [(85.2, None, None, None)]
    assert not [e for e in read_published() if e.method == "gpart" and e.task.startswith("glue/")], "never recovered"
    assert all(entry.value is None for entry in found("vblora", "llama-2-7b", "mt_bench/single_turn"))


def test_second_hand_numbers_are_not_called_seen() -> None:
    certainty = {entry.certainty for entry in read_published() if entry.method == "gpart"}
    assert certainty == {"2"}
    assert {entry.certainty for entry in found("lora", "roberta-base", "glue/rte", protocol="best_on_dev")} == {"V"}


def test_printed_averages_are_those_of_the_cells() -> None:
    rows: dict[tuple[Any, ...], dict[str, float | None]] = {}
    for entry in read_published():
        place = (entry.label, entry.parameters, entry.backbone, entry.source, entry.note)
        rows.setdefault(place, {})[entry.task] = entry.value
    differing, compared = [], 0
    for place, cells in rows.items():
        printed = cells.pop(AVERAGE, None)
        values = [value for value in cells.values() if value is not None]
        if printed is None or len(values) < len(cells) or not cells:
            continue
        compared += 1
        digits = 1 if round(printed, 1) == printed and max(values) == round(max(values), 1) else 2
        if abs(sum(values) / len(values) - printed) > 0.5 * 10**-digits + 1e-9:
            differing.append((place[0], place[2], printed))
    assert compared > 35
    assert differing == [("unilora", "roberta-large", 88.3)]  # the cells average 88.23, as the file notes


def changed(path: Path, **change: Any) -> Path:
    """A file with one table whose row is changed."""
    row = {"method": "lora", "parameters": 10, "cells": ["80.0±1.0"]} | change
    table = {"title": "t", "backbone": "b", "protocol": "test", "statistic": "mean", "source": ["S"], "certainty": "V"}
    content = {"schema": 1, "sources": {"S": "a source"}, "tables": [{**table, "tasks": ["glue/rte"], "rows": [row]}]}
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


def test_a_row_is_read(tmp_path: Path) -> None:
    (entry,) = read_published(changed(tmp_path / "ok.yaml"))
    assert (entry.value, entry.spread, entry.text, entry.note) == (80.0, 1.0, "80.0 ± 1.0", "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cells": ["about 80"]}, "no number; accepted: VALUE"),
        ({"cells": ["80.0", "81.0"]}, "2 for 1 tasks"),
        ({"certainty": "3"}, "certainty=3: accepted: V, 2, I"),
        ({"protocol": "dev"}, "protocol=dev"),
        ({"n": 0}, "n=0"),
        ({"parameters": 0.3}, "parameters=0.3"),
        ({"source": ["T"]}, "accepted: a list of S"),
        ({"scores": [80]}, "scores: unknown key"),
        ({"method": None}, "method=None"),
    ],
)
def test_a_row_that_is_not_as_it_should_be_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError) as error:
        read_published(changed(tmp_path / "bad.yaml", **change))
    assert reason in error.value.lines[0]


@pytest.mark.parametrize("text", ["[]", "schema: 2", "schema: 1", "a: [", ""])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.yaml").write_text(text)
    with pytest.raises(InputError, match=r"other\.yaml: (no published numbers|cannot be read)"):
        read_published(tmp_path / "other.yaml")


def test_a_number_given_twice_is_refused(tmp_path: Path) -> None:
    path = changed(tmp_path / "twice.yaml")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["tables"] *= 2
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    with pytest.raises(InputError, match="given twice"):
        read_published(path)


def test_every_source_is_used_and_every_row_has_a_reason_to_be_there() -> None:
    sources = yaml.safe_load(PATH.read_text(encoding="utf-8"))["sources"]
    assert {name for entry in read_published() for name in entry.source} == set(sources)


ROBERTA = {"key__backbone": "roberta-base", "config__backbone__name": "roberta-base"}


@pytest.mark.parametrize(
    ("settings", "methods"),
    [
        ({"protocol": "best_on_dev"}, {"full", "lora", "vera", "tied_lora", "vblora", "fourierft", "unilora"}),
        ({"protocol": "heldout"}, set()),
        ({"protocol": "best_on_dev", "subset": "4000-of-67349"}, set()),
        ({"protocol": "best_on_dev", "source": "embedded", "task": "embedded/glue/sst2"}, set()),
        ({"protocol": "best_on_dev", "metric": "f1"}, set()),
        ({"protocol": "best_on_dev", "config__backbone__image_size": 64}, set()),
        ({"protocol": "best_on_dev", "task": "glue/qqp"}, set()),
    ],
)
def test_only_the_same_backbone_protocol_task_metric_and_full_data_stand_beside(
    runs: Path, settings: dict[str, Any], methods: set[str]
) -> None:
    write(runs, record(**ROBERTA, **settings))
    (section,) = sections(read_runs(runs).kept)
    assert {numbers[0].method for numbers in beside(section)} == methods


def test_an_average_stands_beside_its_own_tasks_alone(runs: Path) -> None:
    tasks = {
        "cola": "matthews_correlation",
        "sst2": "accuracy",
        "mrpc": "accuracy",
        "stsb": "pearson",
        "qnli": "accuracy",
    }
    for task, metric in tasks.items():
        write(runs, record(task=f"glue/{task}", metric=metric, **ROBERTA))
    assert beside(sections(read_runs(runs).kept)[0]) == []
    write(runs, record(task="glue/rte", **ROBERTA))
    rows = beside(sections(read_runs(runs).kept)[0])
    assert {numbers[0].label: numbers[0].value for numbers in rows} == {
        "gpart": 83.7,
        "unilora": 83.0,
        "lora": 83.5,
        "vera": 83.4,
    }


def test_the_command_prints_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["published", "--method", "gpart", "--backbone", "vit-base"]) == 0
    printed = capsys.readouterr().out
    assert "86.19" in printed
    assert "88.14" not in printed
    assert main(["published", "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(read_published()) + 1
    assert main(["published", "--method", "gpart", "--task", "glue/none"]) == 2
    assert "accepted for --method: adalora, bitfit" in capsys.readouterr().err
