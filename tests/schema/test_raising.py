from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.configuration.spec import stored
from experiments.families import spec_of
from schema import validation
from schema.raising import raised
from schema.run import RunSpec
from tests.analysis.conftest import lowered, record

RESULTS = sorted((Path(__file__).resolve().parents[2] / "results").rglob("record.json"))


def config_of(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))["config"]


def family(config: dict[str, Any]) -> type[RunSpec]:
    return spec_of(config["task"]["family"])


def test_every_published_record_can_be_run_again() -> None:
    configs = [config_of(path) for path in RESULTS]
    assert len(configs) == 207
    wrong = [validation.errors(family(config), raised(family(config), config)) for config in configs]
    assert [lines for lines in wrong if lines] == []
    specs = [stored(raised(family(config), config)) for config in configs]
    assert {spec.task.primary_metric for spec in specs} == {"accuracy", "matthews_correlation", "strict"}


def test_what_a_record_says_is_kept() -> None:
    for path in RESULTS[::20]:
        config = config_of(path)
        found = raised(family(config), config)
        for name in ("seeds", "method", "data", "logger", "protocol"):
            assert found[name] == config[name]
        assert {**found["recipe"], **config["recipe"]} == found["recipe"]


@pytest.mark.parametrize(
    ("metric", "primary", "scores"),
    [
        ("sst2", "accuracy", ["accuracy"]),
        ("mrpc", "f1", ["f1", "accuracy"]),
        ("stsb", "pearson", ["pearson", "spearman"]),
        ("answers", "strict", ["strict", "lenient", "unanswered", "loss"]),
    ],
)
def test_one_name_of_several_scores_becomes_their_names(metric: str, primary: str, scores: list[str]) -> None:
    task = {"metric": metric, "primary_metric": primary, "family": "glue"}
    assert raised(RunSpec, {"task": task})["task"]["metrics"] == scores


def test_what_was_not_named_yet_has_the_value_that_changes_nothing() -> None:
    config = lowered(record())["config"]
    found = raised(RunSpec, config)
    assert (found["recipe"]["accumulation"], found["recipe"]["precision"]) == (1, "float32")
    assert found["diagnostics"]["measures"] == []
    assert found["backbone"]["family"] == "glue"
    assert "accumulation" not in config["recipe"]


def test_a_configuration_of_today_stays_as_it_is() -> None:
    config = raised(RunSpec, lowered(record())["config"])
    assert raised(RunSpec, config) == config


def test_what_is_unknown_is_left_for_validation_to_name() -> None:
    config = config_of(RESULTS[0])
    config["recipe"]["momentum"] = 0.9
    section = family(config)
    (line,) = validation.errors(section, raised(section, config))
    assert line.startswith("recipe.momentum: unknown key")
