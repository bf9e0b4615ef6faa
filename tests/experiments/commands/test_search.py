from __future__ import annotations

from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.commands.search import Space, best, run_search, space
from experiments.configuration.identity import cell_key
from experiments.configuration.overrides import CONF, options, override_errors
from experiments.errors import SpecError
from experiments.records import record
from schema.identity import covered
from schema.plan import Plan
from schema.record import Identity, Metrics, Record
from tests.experiments.runs import spec_of


@pytest.mark.parametrize("name", options("search"))
def test_every_search_gives_every_method_the_same_number_of_trials(name: str) -> None:
    found = space(name)
    assert {"gpart", "lora", "full"} <= set(found.trials) <= set(options("method")) - {"untrained"}
    assert len({len(trials) for trials in found.trials.values()}) == 1


def described(name: str) -> list[str]:
    """The overrides after `--` in the command that the head of the search's file gives."""
    lines = (CONF / "search" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    command = " ".join(line.lstrip("# ").rstrip("\\") for line in lines if line.startswith("#  "))
    return command.split(" -- ")[1].split()


@pytest.mark.parametrize("name", options("search"))
def test_every_trial_is_made_of_keys_that_exist(name: str) -> None:
    for method, trials in space(name).trials.items():
        for trial in trials:
            words = [*described(name), f"method={method}", *(f"{key}={value}" for key, value in trial.items())]
            assert override_errors(words) == []


def test_a_subset_of_methods_can_be_searched() -> None:
    assert list(space("minilm-l6", ["head", "gpart"]).trials) == ["head", "gpart"]


@pytest.mark.parametrize(("name", "methods", "complaint"), [("nope", None, "search=nope"), ("minilm-l6", ["x"], "=x")])
def test_what_does_not_exist_is_refused(name: str, methods: list[str] | None, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        space(name, methods)


def test_the_command_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "nope", "--", "task=glue/sst2"]) == 2
    assert capsys.readouterr().err == f"error: search=nope: unknown search; accepted: {', '.join(options('search'))}\n"


def test_a_search_whose_every_trial_fails_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr("experiments.commands.search._RUN", tmp_path / "run.py")
    words = ["search", "embedded-vit", "--methods", "head", "--outputs", str(tmp_path / "none")]
    (tmp_path / "none").mkdir()
    assert main([*words, "--", "profile=embedded", "task=vision/digits"]) == 1
    assert capsys.readouterr().err == "error: search=embedded-vit: none of its trials has left a record; see above\n"


@pytest.mark.slow
def test_a_search_runs_its_trials_and_never_scores_the_test_split(tiny: list[str], tmp_path: Path) -> None:
    trials = [{"recipe.head_learning_rate": rate} for rate in (1e-3, 1e-1)]
    overrides = [item for item in tiny if not item.startswith("outputs=")]
    search = Space("tiny", {"head": trials})
    records = run_search(search, [*overrides, "task=glue/sst2"], tmp_path / "search").kept
    assert [trial.outcome for trial in records] == ["ok", "ok"]
    assert all(trial.metrics.test is None and trial.track == "equal_budget" for trial in records)
    scores = sorted(((trial.metrics.selection or {})["accuracy"] or 0.0 for trial in records), reverse=True)
    first, second = best(search, records).splitlines()[1:]
    assert f"{100 * scores[0]:.2f}" in first
    assert f"{100 * scores[1]:.2f}" in second


def trial_record(prompt: str, rate: float, loss: float) -> Record:
    """What a search reads of a math run's record; the record keeps the prompt as what its name stands for."""
    overrides = ("task=math/gsm8k", "backbone=embedded-causal", "method=gpart")
    spec = spec_of(*overrides, f"++task.prompt={prompt}", f"recipe.learning_rate={rate}")
    identity = Identity(hashed=covered(spec, {}, {}))
    plan = Plan(id="0" * 12, identity=identity, key=cell_key(spec, "full"), config=spec.model_dump(mode="json"))
    result = record.blank(plan)
    result.outcome, result.metrics = "ok", Metrics(primary="strict", selection={"loss": loss})
    return result


def test_a_setting_that_is_recorded_as_a_section_takes_part_in_the_table() -> None:
    trials = [{"task.prompt": "words", "recipe.learning_rate": rate} for rate in (1e-3, 1e-2, 1e-1)]
    records = [trial_record("words", rate, loss) for rate, loss in ((1e-1, 2.5), (1e-2, 2.5), (1e-3, 3.0))]
    lines = best(Space("words", {"gpart": trials}), records).splitlines()
    assert [line.split()[-2] for line in lines] == ["recipe.learning_rate", "0.010", "0.100", "0.001"]
    assert "task.prompt" not in lines[0]
