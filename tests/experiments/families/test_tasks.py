"""A task of one's own: seven keys in one YAML file outside of the checkout, and rows in a folder."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml

from experiments.configuration.overrides import override_errors
from tests.experiments.conftest import WORDS, Runner

SEVEN = {
    "name": "own/pairs",
    "family": "glue",
    "inputs": ["first", "second"],
    "label": "same",
    "classes": ["different", "same"],
    "metrics": ["accuracy", "f1"],
    "splits": {"train": "train", "test": "test"},
}


def with_task(folder: Path, **changed: object) -> list[str]:
    """The flag and the override that choose the task; a key that is changed to None is left out."""
    file = folder / "task" / "own" / "pairs.yaml"
    file.parent.mkdir(parents=True)
    keys = {name: value for name, value in {**SEVEN, **changed}.items() if value is not None}
    file.write_text(yaml.safe_dump(keys), encoding="utf-8")
    return [f"--config-dir={folder}", "task=own/pairs"]


def pair(generator: random.Random) -> dict[str, object]:
    first, second = (" ".join(generator.choices(WORDS, k=5)) for _ in range(2))
    same = generator.random() < 0.5
    return {"first": first, "second": first if same else second, "same": int(same)}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    folder, generator = tmp_path / "pairs", random.Random(0)
    folder.mkdir()
    for split, rows in {"train": 80, "test": 40}.items():
        lines = [json.dumps(pair(generator)) for _ in range(rows)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_a_task_of_seven_keys_runs_end_to_end(run_py: Runner, tiny: list[str], pairs: Path, tmp_path: Path) -> None:
    outcome = run_py(*with_task(tmp_path / "own"), *tiny, f"data.path={pairs}", "method=head")
    assert outcome.returncode == 0, outcome.stderr
    (path,) = (tmp_path / "outputs").rglob("record.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["outcome"] == "ok"
    assert record["key"]["task"] == "own/pairs"
    assert record["metrics"]["primary"] == "accuracy"
    assert set(record["metrics"]["test"]) == {"accuracy", "f1"}
    assert all(0 <= score <= 1 for score in record["metrics"]["test"].values())
    assert record["config"]["task"]["result_version"] == 1, "a record holds defaults as well"


@pytest.mark.parametrize("key", SEVEN)
def test_a_missing_key_is_one_line(key: str, tmp_path: Path) -> None:
    (line,) = override_errors([*with_task(tmp_path, **{key: None}), "data=local", f"data.path={tmp_path}"])
    assert line.startswith(f"task.{key}: missing; accepted: ")


def test_a_missing_key_is_status_2_and_leaves_nothing(run_py: Runner, tmp_path: Path) -> None:
    outcome = run_py(*with_task(tmp_path / "own", splits=None), f"outputs={tmp_path / 'outputs'}")
    assert outcome.returncode == 2
    assert outcome.stderr == "error: task.splits: missing; accepted: a mapping of texts\n"
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"metrics": ["acuracy"]}, "task.metrics=acuracy: no score of 2 classes (did you mean accuracy?); accepted: "),
        ({"metrics": ["f1"], "classes": 3}, "task.metrics=f1: no score of 3 classes; accepted: accuracy, f1_macro, "),
        ({"metrics": ["pearson"]}, "task.metrics=pearson: no score of 2 classes; accepted: accuracy, f1, f1_macro, "),
        ({"metrics": ["f1", "f1"]}, "task.metrics=f1: named twice; accepted: each score once"),
        ({"metrics": []}, "task.metrics=[]: not accepted; accepted: a list of texts"),
        ({"metrics": "f1"}, "task.metrics=f1: not accepted; accepted: a list of texts"),
        ({"family": "gleu"}, "task.family=gleu: not accepted; accepted: one of glue, vision, math"),
        ({"splits": {"train": "train"}}, "task.splits.test: missing; accepted: a text"),
        ({"splits": {"train": "a", "test": "a"}}, "task.splits.test=a: the rows that train; accepted: another split"),
        (
            {"splits": {"train": "a", "test": "b", "dev": "c"}},
            "task.splits.dev=c: no such split; accepted: train, selection, test",
        ),
    ],
)
def test_a_wrong_value_is_one_line(changed: dict[str, object], line: str, tmp_path: Path) -> None:
    (found,) = override_errors(with_task(tmp_path, **changed))
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["task=glue/stsb", "task.metrics=[accuracy]"],
            "task.metrics=accuracy: no score of a regression; accepted: pe",
        ),
        (["task=vision/cifar10", "task.metrics=[f1]"], "task.metrics=f1: no score of 10 classes; accepted: accuracy"),
        (
            ["task=math/gsm8k", "task.metrics=[accuracy]"],
            "task.metrics=accuracy: no score of generated answers; accepted",
        ),
        (
            ["task=math/gsm8k", "task.metrics=[loss]"],
            "task.metrics=loss: does not say which answers are right; accepted",
        ),
        (["task=math/metamathqa", "task.metrics=[strict,strict]"], "task.metrics=strict: named twice; accepted"),
        (["task=glue/sst2", "task.primary_metric=f1"], "task.primary_metric: unknown key"),
    ],
)
def test_every_family_knows_its_scores(overrides: list[str], line: str) -> None:
    (found,) = override_errors(overrides)
    assert found.startswith(line)


def test_a_key_that_no_file_names_is_typed_as_any_other() -> None:
    assert override_errors(["task=math/gsm8k", "task.packing=true", "task.hub.revision=a1b2", "method=lora"]) == []
    (line,) = override_errors(["task=math/gsm8k", "task.pack=true"])
    assert "did you mean task.packing?" in line
