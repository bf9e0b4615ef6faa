"""The suite under wrong input, and fuzz on what is known to be wrong."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from experiments.families import FAMILIES, spec_of
from experiments.fuzz import fuzz_command, trial
from experiments.fuzz.case import Case, Observed, Outcome
from experiments.fuzz.expectations import ACCEPTED
from experiments.fuzz.fuzz_command import SECTIONS, chosen_cases, fuzz, summary
from schema.validation import keys

SEED = 0


@pytest.mark.slow
def test_wrong_input_is_refused_well() -> None:
    before = dict(os.environ), ConfigLoaderImpl.load_configuration
    found = fuzz(cases=35, seed=SEED, sections=tuple(SECTIONS))
    assert (dict(os.environ), ConfigLoaderImpl.load_configuration) == before, "the process is as it was"
    assert {case.section for case, _, _ in found} == set(SECTIONS)
    assert [case.command for case, _, outcome in found if outcome.is_fault] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_every_key_has_an_expectation(family: str) -> None:
    assert [key for key in keys(spec_of(family)) if key not in ACCEPTED] == []


@pytest.mark.parametrize(
    ("key", "right", "wrong"),
    [
        ("plan", [True], [1, "true", None]),
        ("seed", [0, 2**32 - 1], [-1, 2**32, 1.0, True]),
        ("d", [1, None], [0, 10.5, "1"]),
        ("diagnostics.grid", [3, 5], [1, 4, 3.0]),
        ("recipe.learning_rate", [1, 1e-9], [0, float("inf"), float("nan"), "1", True]),
        ("recipe.warmup_ratio", [0, 1.0], [1.01, -0.1]),
        ("task.inputs", [["a"]], [[], "a", [1], [""], {"a": 1}]),
        ("backbone.target_modules", [["a"], "a.*"], ["([", [], ""]),
        ("task.splits", [{"train": "a"}], [{"train": 1}, ["train"], "train"]),
        ("task.classes", [["a"], 2, None, "folder"], ["a", 0, [1]]),
    ],
)
def test_what_is_expected_of_a_key(key: str, right: list[object], wrong: list[object]) -> None:
    assert [value for value in right if not ACCEPTED[key](value)] == []
    assert [value for value in wrong if ACCEPTED[key](value)] == []


def test_sections_take_turns_and_the_seed_chooses() -> None:
    names = tuple(SECTIONS)
    first, again, other = ([case.command for case in chosen_cases(60, seed, names)] for seed in (1, 1, 2))
    assert first == again != other
    sections = Counter(case.section for case in chosen_cases(7 * len(names), 1, names))
    assert set(sections.values()) == {7}
    assert len(list(chosen_cases(10**6, 0, names))) > 3000


def test_a_fault_is_counted_and_its_shortest_command_told() -> None:
    faults = [(Case("keys", (word,), "refused"), Observed(0), Outcome.ACCEPTED) for word in ("seed=-10", "seed=-1")]
    lines = summary([*faults, (Case("keys", ("a",), "refused"), Observed(2), Outcome.REFUSED)]).splitlines()
    assert lines[-1] == "3 cases, 2 faults"
    assert "accepted though wrong (keys), shortest: python run.py seed=-1" in lines
    assert [line.split()[:2] for line in lines[:2]] == [["keys", "2"], ["keys", "1"]]


@pytest.mark.parametrize(
    ("called", "status", "said"),
    [
        ("raise SystemExit(2)", 2, ""),
        ("raise SystemExit('told')", 1, "told"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("os.kill(os.getpid(), signal.SIGALRM)", None, ""),
        ("os.write(2, b'of a library')", 0, "of a library"),
        ("Path('outputs/a').mkdir(parents=True)", 0, ""),
    ],
)
def test_a_case_has_a_process_and_a_folder_of_its_own(
    called: str, status: int | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_path(*_: object, **__: object) -> None:
        exec(called, {"os": os, "signal": signal, "Path": Path})

    monkeypatch.setattr(trial.runpy, "run_path", run_path)
    made = Case("keys", (), "either", make=lambda folder: (folder / "before").write_text(""))
    seen = trial.tried(made)
    assert seen.status == status
    assert said in seen.stderr
    assert seen.written == (("outputs", "outputs/a") if "mkdir" in called else ())


def test_the_command_ends_with_1_where_there_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from experiments.__main__ import main

    for outcome, status in ((Outcome.REFUSED, 0), (Outcome.TRACEBACK, 1)):
        found = [(Case("keys", ("a",), "refused"), Observed(2), outcome)]
        monkeypatch.setattr(fuzz_command, "fuzz", lambda *_, found=found: found)
        assert main(["fuzz", "--cases", "1"]) == status
    assert "1 cases, 1 faults" in capsys.readouterr().out
