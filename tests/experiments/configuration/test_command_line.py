"""What is typed: flags anywhere, the help screen, and the common slips, each answered in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from omegaconf.errors import ConfigKeyError

from experiments import cli
from experiments.configuration.command_line import CommandLine
from experiments.configuration.groups import groups, options
from experiments.configuration.overrides import override_errors
from experiments.configuration.usage import usage


def answered(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    status = cli.main()
    printed = capsys.readouterr()
    return status, printed.out or printed.err


def test_flags_are_told_from_overrides_wherever_they_stand() -> None:
    line = CommandLine.of(["seed=0,1", "-m", "--cfg", "job", "d=1", "--config-dir=DIR"])
    assert line.flags == ("-m", "--cfg", "job", "--config-dir=DIR")
    assert line.overrides == ("seed=0,1", "d=1")
    assert line.sweep


@pytest.mark.parametrize("words", [["-cd", "DIR"], ["--config-dir", "DIR"], ["--config-dir=DIR"], ["-cd=DIR", "-m"]])
def test_the_folder_of_further_groups_is_found_in_every_form(words: list[str]) -> None:
    folder = CommandLine.of(["seed=1", *words]).config_dir
    assert folder is not None
    assert (folder.is_absolute(), folder.name) == (True, "DIR")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_one_screen_of_choices_and_examples(
    flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = answered(["method=gpart", flag], monkeypatch, capsys)
    assert status == 0
    assert text.strip() == usage().strip()
    assert len(text.splitlines()) <= 50
    assert max(map(len, text.splitlines())) <= 120
    shown = set(text.split())
    assert {*options("method"), *options("backbone"), *options("profile"), "sst2", "cifar10"} <= shown
    assert {"-m,", "--config-dir", "--cfg"} <= shown
    assert all(f"  {group} " in text for group in groups() if options(group))


def test_help_lists_no_folder_that_is_no_group() -> None:
    assert not {"bench", "search", "prompt"} & set(groups())
    assert "  prompt " not in usage()


def test_the_examples_of_the_help_are_accepted() -> None:
    lines = [line.partition("#")[0] for line in usage().splitlines() if line.startswith("  python run.py ")]
    assert len(lines) == 11
    for line in lines:
        assert override_errors(line.split()[2:]) == [], line


@pytest.mark.parametrize("word", ["seed=0,1", "seed=range(3)", "d=choice(1,2)", "method=gpart,lora"])
def test_several_values_without_multirun_are_one_line_that_names_it(
    word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = answered(["profile=embedded", "task=glue/sst2", word], monkeypatch, capsys)
    assert status == 2
    assert text.splitlines() == [
        f"error: {word}: several values for one run; accepted: one, or --multirun (-m) for a run of each"
    ]


@pytest.mark.parametrize("group", ["method", "task", "backbone", "data", "protocol", "recipe"])
def test_a_group_that_a_run_needs_cannot_be_null(group: str) -> None:
    (line,) = override_errors([f"{group}=null"])
    assert line.startswith(f"{group}=null: unknown {group}; accepted: ")


def test_a_group_that_a_run_can_do_without_may_be_null() -> None:
    assert override_errors(["profile=null", "experiment=null"]) == []


def test_an_unknown_key_behind_a_plus_gets_the_suggestion_that_it_gets_without() -> None:
    for word in ("recipe.epoch=1", "+recipe.epoch=1"):
        (line,) = override_errors([word])
        assert line.startswith("recipe.epoch: unknown key (did you mean recipe.epochs?); accepted: ")


def test_what_looks_like_a_group_but_is_none_is_an_unknown_key() -> None:
    (line,) = override_errors(["search=minilm-l6"])
    assert line.startswith("search: unknown key; accepted: ")


@pytest.mark.parametrize(
    "flags", [["--config-dir", "a", "-m"], ["-m", "-cd", "a"], ["--config-dir=a", "-m"], ["-m", "-cd=a"]]
)
def test_another_folder_of_groups_takes_the_place_of_the_one_given(flags: list[str]) -> None:
    line = CommandLine.of([*flags, "seed=0"]).with_config_dir(Path("/b"))
    assert line == CommandLine(("-m", "--config-dir=/b"), ("seed=0",))


@pytest.mark.parametrize("flag", ["--cfg=job", "--info", "-c", "--run"])
def test_what_is_of_one_run_goes_with_no_sweep(flag: str) -> None:
    (line,) = override_errors(["-m", flag, "job", "seed=0,1"] if flag == "-c" else ["-m", flag, "seed=0,1"])
    assert line.startswith("--multirun (-m): with --cfg")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--nosuch"], "--nosuch: unknown flag; accepted: --cfg, "),
        (["-m", "-x"], "-x: unknown flag; accepted: "),
        (["--cfg", "nosuch"], "--cfg=nosuch: not accepted; accepted: job, hydra, all"),
        (["--cfg"], "--cfg=: not accepted; accepted: job, hydra, all"),
        (["--info=nosuch"], "--info=nosuch: not accepted; accepted: all, config, "),
        (["--config-dir"], "--config-dir: without a value; accepted: --config-dir=VALUE"),
        (["-cd", "/nowhere", "seed=1"], "--config-dir=/nowhere: no such folder; accepted: an existing folder"),
        (["-cp", "DIR"], "-cp=DIR: the configuration is conf/; accepted: --config-dir=DIR"),
        (["--config-name=nosuch"], "--config-name=nosuch: no such file ("),
        (["hydra.searchpath=[file:///nowhere]"], "hydra.searchpath=/nowhere: no such folder; accepted: "),
        (["hydra.searchpath=DIR"], "hydra.searchpath=DIR: not accepted; accepted: a list of folders"),
        (["hydra.searchpath=[1]"], "hydra.searchpath=[1]: not accepted; accepted: a list of folders"),
    ],
)
def test_a_flag_that_is_none_or_has_a_wrong_value_is_one_line(words: list[str], line: str) -> None:
    (found,) = override_errors(words)
    assert found.startswith(line)


@pytest.mark.parametrize("words", [["--info", "seed=1"], ["seed=1", "-i"], ["--info", "--cfg=job"]])
def test_info_alone_takes_no_override_for_its_value(words: list[str]) -> None:
    line = CommandLine.of(words)
    assert line.errors() == []
    assert {"--info=all", "-i=all"} & {*line.words}
    assert line.overrides == tuple(word for word in words if word == "seed=1")


def test_an_error_that_hydra_knows_is_no_refusal_where_it_is_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConfigKeyError("a key of ours")

    for module, words in (("runner", ["seed=1"]), ("preflight", ["-m", "seed=1,2"])):
        monkeypatch.setattr(f"experiments.run.{module}.{'run' if module == 'runner' else 'prepare'}", fail)
        monkeypatch.setattr(sys, "argv", ["run.py", "profile=embedded", "task=glue/sst2", *words])
        assert cli.main() == 1
        printed = capsys.readouterr().err
        assert "Traceback (most recent call last)" in printed
        assert "ConfigKeyError: a key of ours" in printed
        assert printed.splitlines()[-1].startswith("this is a bug: ")
        assert "error: " not in printed


def test_a_tilde_is_the_home_for_hydra_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = []
    monkeypatch.setattr("experiments.run.runner.run", lambda spec, *_, **__: made.append(spec.outputs))
    monkeypatch.setattr("experiments.run.preflight.sizes", lambda *_: None)
    words = ["-m", "profile=embedded", "task=glue/sst2", "method=head", 'outputs="~/x"']
    answered(words, monkeypatch, capsys)
    assert made == [str(tmp_path / "home" / "x")]
    assert not (tmp_path / "~").exists()
