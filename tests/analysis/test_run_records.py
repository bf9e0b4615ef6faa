from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.records import InputError, flatten, read_run, read_runs
from schema.record import Record
from tests.analysis.conftest import broken, identified, lowered, record, write


def test_a_record_is_read(runs: Path) -> None:
    path = write(runs, record("gpart", seed=3, score=0.75))
    run = read_run(path)
    assert (run.method, run.capacity, run.score, run.state) == ("gpart", ("d", 4608), 0.75, "ok")
    assert (run.theta, run.head) == (4608, 770)
    assert run.column.task == "glue/sst2"
    assert run.column.metric == "accuracy"
    assert run.own_seeds == {"method.config.seed": 3}


def test_the_whole_record_can_be_read_again(runs: Path) -> None:
    content = record(history={"steps": [], "epochs": [{"epoch": 1, "selection": {"loss": 0.5}}], "best_epoch": 1})
    path = write(runs, content)
    run = read_run(path.rename(runs / "record.json"))
    assert run.record() == Record.model_validate(content)
    assert run.record().history.epochs[0].selection == {"loss": 0.5}
    other = record(seed=1)
    run.path.write_text(json.dumps(other))
    with pytest.raises(InputError, match=f"now the record of run {other['id']}"):
        run.record()
    run.path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        run.record()


@pytest.mark.parametrize(
    ("method", "capacity"), [("unilora", ("d", 4608)), ("lora", ("r", 8)), ("full", None), ("head", None)]
)
def test_capacity_is_d_or_r(runs: Path, method: str, capacity: tuple[str, int] | None) -> None:
    assert read_run(write(runs, record(method))).capacity == capacity


def test_settings_hold_neither_seeds_nor_what_changes_no_result(runs: Path) -> None:
    first = read_run(write(runs, record(seed=0)))
    second = read_run(
        write(runs, record(seed=1, config__local="elsewhere", config__threads=4, config__logger={"wandb": "disabled"}))
    )
    assert first.settings == second.settings
    assert first.settings["recipe.learning_rate"] == 0.005
    assert first.settings["data_reference.sha256.train.parquet"] == "11"


def test_best_on_dev_scores_the_selection_split_and_heldout_never_does(runs: Path) -> None:
    assert read_run(write(runs, record(protocol="best_on_dev", score=0.7))).score == 0.7
    untested = record(config__test=False, metrics__test=None)
    run = read_run(write(runs, untested))
    assert run.score is None
    assert run.is_trial


def test_an_undefined_metric_and_a_failure_are_told_apart(runs: Path) -> None:
    undefined = read_run(write(runs, record(task="glue/stsb", metric="pearson", score=None)))
    failed = read_run(write(runs, record(outcome="out_of_memory", sizes={})))
    assert (undefined.state, failed.state) == ("undefined", "out_of_memory")
    assert failed.reason == "Stopped: the loss is not finite"
    assert failed.theta is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 3}, "schema=3: of a later version of the suite; accepted: 1, 2"),
        ({"outcome": "fine"}, "outcome=fine: not accepted; accepted: 'ok', 'diverged',"),
        ({"protocol": "best_on_dev"}, "key.protocol=heldout: the rest of the record says best_on_dev"),
        ({"config__track": "published"}, "key.track=equal_budget"),
        ({"key__task": "glue/cola"}, "key.task=glue/cola"),
        ({"key__source": "embedded", "config__data__source": "embedded"}, "says embedded/glue/sst2"),
        ({"key__metric": "f1"}, "key.metric=f1: the rest of the record says accuracy"),
        ({"metrics__primary": "f1"}, "key.metric=accuracy: the rest of the record says f1"),
        (
            {"metrics__test": {"accuracy": "0.5"}},
            'metrics.test.accuracy="0.5": not accepted; accepted: a valid num',
        ),
        ({"key": {"task": "glue/sst2"}}, "key.source: missing"),
        ({"provenance": None}, "provenance=null: not accepted"),
        ({"sizes__thetas": 3}, "sizes.thetas: unknown key"),
        ({"sizes__theta": 3.5}, "sizes.theta=3.5: not accepted; accepted: a valid integer"),
        ({"config__method__config": []}, "config.method.config=[]: not accepted"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(runs: Path, change: dict[str, object], reason: str) -> None:
    content = record()
    for key, value in change.items():
        *parents, last = key.split("__")
        target = content
        for name in parents:
            target = target[name]
        target[last] = value
    path = runs / "record.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"record\.json: ") as error:
        read_run(path)
    assert reason in error.value.lines[0]
    assert len(error.value.lines) == 1
    assert "\n" not in error.value.lines[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"config": 3}, "config=3: not accepted; accepted: a mapping"),
        ({"provenance": None}, "provenance=null: not accepted; accepted: a mapping"),
        ({"key": {"task": "glue/sst2"}}, "key.source: missing"),
    ],
)
def test_a_broken_record_of_schema_1_is_refused_in_one_line(runs: Path, change: dict[str, object], reason: str) -> None:
    path = runs / "record.json"
    path.write_text(json.dumps(lowered(record()) | change))
    with pytest.raises(InputError, match=r"record\.json: ") as error:
        read_run(path)
    assert reason in str(error.value)


def test_a_record_whose_settings_were_edited_is_refused(runs: Path) -> None:
    content = record()
    content["identity"]["hashed"]["recipe"]["learning_rate"] = 0.5
    with pytest.raises(InputError, match=rf"id={content['id']}: identity.hashed is that of \w+, so that one of both"):
        read_run(write(runs, content))


def test_a_score_without_the_primary_metric_is_undefined_and_the_rest_goes_on(runs: Path) -> None:
    write(runs, record("lora"))
    write(runs, record("gpart", metrics__test={"f1": 0.5}))
    states = {run.method: (run.state, run.reason) for run in read_runs(runs).kept}
    missing = "no accuracy, the task's primary metric, among its scores: f1"
    assert states == {"lora": ("ok", None), "gpart": ("undefined", missing)}


def test_records_of_both_schemas_give_the_same_run(runs: Path) -> None:
    newest = read_run(write(runs, record()))
    oldest = read_run(write(runs / "older", lowered(record())))
    assert (oldest.identity, newest.identity) == (1, 2)
    assert (oldest.column, oldest.capacity, oldest.score) == (newest.column, newest.capacity, newest.score)
    assert (oldest.settings.pop("task.primary_metric"), newest.settings.pop("task.metrics")) == (
        "accuracy",
        '["accuracy"]',
    )
    assert newest.settings.pop("identity_version") == 2
    assert oldest.settings == newest.settings


def test_every_published_record_is_read() -> None:
    paths = sorted((Path(__file__).resolve().parents[2] / "results").rglob("record.json"))
    assert len(paths) == 207
    for path in paths:
        run = read_run(path)
        assert run.identity == 1
        assert run.record().outcome == "ok"
        assert run.is_trial or run.score is not None


def test_a_broken_round_trip_has_no_score_and_says_what_differed(runs: Path) -> None:
    run = read_run(write(runs, broken("gpart")))
    assert (run.state, run.score) == ("broken_round_trip", None)
    assert run.reason == (
        "merge: largest difference of a logit 0.25 (accepted: 0.001), 4 of 32 predictions changed; "
        "unmerge: largest difference of a logit not finite (accepted: 0.001), 32 of 32 predictions changed"
    )


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_only_strict_json_is_read(runs: Path, constant: str) -> None:
    path = write(runs, record(score=0.8125))
    path.write_text(path.read_text().replace("0.8125", constant))
    with pytest.raises(InputError, match=f"{constant} is not strict JSON"):
        read_run(path)


def test_copies_count_once_and_two_records_of_one_run_not_at_all(runs: Path) -> None:
    path = write(runs, record())
    sound = write(runs, record("lora"))
    shutil.copytree(path.parent, runs / "copy")
    assert len(read_runs(runs).kept) == 2
    changed = json.loads(path.read_text())
    changed["metrics"]["test"]["accuracy"] = 0.9
    (runs / "copy" / "record.json").write_text(json.dumps(changed))
    found = read_runs(runs)
    assert [run.path for run in found.kept] == [sound]
    assert {fault.path for fault in found.faults} == {path, runs / "copy" / "record.json"}
    assert all(f"another record of run {changed['id']} than " in fault.reason for fault in found.faults)


def test_earlier_attempts_that_were_set_aside_are_not_read(runs: Path) -> None:
    path = write(runs, record())
    aside = path.parent / "previous" / "1"
    aside.mkdir(parents=True)
    (aside / "previous-record.json").write_text("{}")
    assert len(read_runs(runs).kept) == 1


def test_no_records_and_no_folder_are_refused(runs: Path) -> None:
    with pytest.raises(InputError, match=r"no record\.json"):
        read_runs(runs)
    with pytest.raises(InputError, match="no such folder"):
        read_runs(runs / "absent")


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": None}, "d": [1, "x"]}) == {"a.b": 1, "a.c": None, "d": '[1, "x"]'}
    assert flatten({"d": [3.0, [0.5]]}) == flatten({"d": [3, [0.5]]})


def test_analysis_imports_no_model_library() -> None:
    code = "import sys, analysis.__main__; print(*{name.split('.')[0] for name in sys.modules})"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    heavy = {"torch", "transformers", "peft", "datasets", "experiments", "baselines", "gpart"}
    assert heavy.isdisjoint(output.split())


@pytest.mark.parametrize("name", ["proj_seed", "projection_prng_key"])
def test_a_projections_own_seed_is_no_setting(runs: Path, name: str) -> None:
    content = record("lora")
    content["config"]["method"]["config"][name] = 7
    run = read_run(write(runs, identified(content)))
    assert run.own_seeds == {f"method.config.{name}": 7}
    assert f"method.config.{name}" not in run.settings
