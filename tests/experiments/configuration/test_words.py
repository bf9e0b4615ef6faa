"""Words of the command line: slips of grammar, quotation and kind, each told in one line with what to type instead."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from experiments.configuration.groups import options
from experiments.configuration.overrides import override_errors
from experiments.configuration.words import parsed, spelled
from experiments.errors import SpecError


def told(*words: str) -> list[str]:
    return override_errors(["profile=embedded", "task=glue/sst2", *words])


@pytest.mark.parametrize(
    ("key", "path"),
    [
        *(
            ("outputs", f"/x/{name}")
            for name in ("a=b", "a (1)", "données", "日本", "a#b", "{a}", "a'b", 'a"b', "a&b;c")
        ),
        *((key, "~/x") for key in ("outputs", "data.path", "backbone.path", "local")),
    ],
)
def test_a_path_that_hydra_cannot_read_is_told_with_the_words_that_it_can(key: str, path: str) -> None:
    (line,) = told(f"{key}={path}")
    assert line.startswith(f"{key}={path}: not an override (")
    hint = line.partition("(as one text: ")[2].removesuffix(")")
    (word,) = shlex.split(hint)
    assert parsed(word).value() == path
    assert told(word) == []


def test_a_comma_in_a_path_is_told_with_its_quotes_and_nothing_else_is() -> None:
    assert override_errors(["data=local", "data.path=/a,b"]) == [
        "data.path=/a,b: several values for one run; accepted: one (as one text: 'data.path=\"/a,b\"'), or --multirun "
        "(-m) for a run of each"
    ]


@pytest.mark.parametrize("word", ["=", "=1", "gpart", "a b", "seed==1", "+", "~"])
def test_what_is_no_override_is_one_line(word: str) -> None:
    (line,) = told(word)
    assert line.startswith(f"{word}: not an override (")
    assert "; accepted: key=value" in line


@pytest.mark.parametrize(
    ("word", "choices"),
    [
        ("method=glob(*,exclude=[full,head])", [name for name in options("method") if name not in ("full", "head")]),
        ("task=glob([glue/r*,glue/s*])", ["glue/rte", "glue/sst2", "glue/stsb"]),
        ("+profile=glob(e*)", ["embedded"]),
    ],
)
def test_a_glob_is_a_sweep_over_the_choices_of_its_group(word: str, choices: list[str]) -> None:
    assert told("-m", word) == []
    assert spelled(word) == f"{word.partition('=')[0]}={','.join(choices)}"
    (line,) = told(word)
    assert "--multirun (-m)" in line


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("method=glob(zzz*)", "a sweep over no value; accepted: at least one"),
        ("seed=glob(*)", "no group, whose choices a glob picks from; accepted: values, as key=a,b"),
        ("seed=interval(0,1)", "has no end of values; accepted: key=a,b or key=range(a,b)"),
        ("seed=range(0)", "a sweep over no value; accepted: at least one"),
        ("seed=range(100000000000)", "a sweep over more than 10000 values; accepted: fewer"),
    ],
)
def test_a_sweep_over_nothing_or_without_end_is_one_line(word: str, said: str) -> None:
    assert told("-m", word) == [f"{word}: {said}"]


@pytest.mark.parametrize("group", ["method", "task", "recipe", "protocol"])
def test_a_group_that_a_run_needs_can_be_neither_deleted_nor_a_list(group: str) -> None:
    (line,) = told(f"~{group}")
    assert line.startswith(f"~{group}: a run needs a {group}; accepted: ")
    for value in ("[]", "[head]", "{a: 1}"):
        (line,) = told(f"{group}={value}")
        assert line.startswith(f"{group}={value}: unknown {group}")


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("seeds=1", "seeds=1: not accepted; accepted: a mapping"),
        ("seeds=[]", "seeds=[]: not accepted; accepted: a mapping"),
        ("~seeds", "seeds: missing; accepted: a mapping"),
        ("~seed", "seed: missing; accepted: an integer from 0 to 4294967295"),
        ("~recipe.epochs", "recipe.epochs: missing; accepted: a number above 0, at most 1000000"),
        ("~recipe.epoch", "recipe.epoch: unknown key (did you mean recipe.epochs?); accepted: accumulation, "),
        ("diagnostics.measures={a: 1}", "diagnostics.measures={a: 1}: not accepted; accepted: a list of one of "),
        ("backbone.target_modules={a: 1}", "backbone.target_modules={a: 1}: not accepted; accepted: a list of texts"),
        ("task.metrics={a: 1}", "task.metrics={a: 1}: not accepted; accepted: a list of texts"),
        ("task.splits=[]", "task.splits=[]: not accepted; accepted: a mapping of texts"),
        ("backbone.architecture=[]", "backbone.architecture=[]: not accepted; accepted: a mapping of options, or null"),
        ("method.config=[]", "method.config=[]: not accepted; accepted: a mapping of options"),
        ("+recipe.epochs.x=1", "recipe.epochs={x: 1}: not accepted; accepted: a number above 0"),
        ("+task.extra_test={../x: test}", "task.extra_test={../x: test}: not accepted; accepted: a mapping of texts"),
        ("outputs=${nosuch}", "outputs=${nosuch}: Interpolation key 'nosuch' not found; accepted: "),
        ("outputs=${oc.env:NOSUCH}", "outputs=${oc.env:NOSUCH}: KeyError raised"),
        ("outputs=???", "outputs=???: Missing mandatory value"),
        ('seed="1"', 'seed="1": not accepted; accepted: an integer'),
        ("seed=-1", "seed=-1: not accepted; accepted: an integer from 0 to 4294967295"),
        ('method.name=""', 'method.name="": not accepted; accepted: a name of '),
    ],
)
def test_a_value_of_another_kind_is_one_line(word: str, line: str) -> None:
    (found,) = told(word)
    assert found.startswith(line)
    assert "; accepted: " in found


def test_seeds_that_follow_seed_are_not_told_and_others_are() -> None:
    assert [line.partition("=")[0] for line in told("seed=-1", "seeds.head=-2")] == ["seed", "seeds.head"]


def test_an_option_of_a_method_needs_no_plus() -> None:
    assert told("method=lora", "method.config.use_dora=true") == []
    assert spelled("method.config.use_dora=true") == "++method.config.use_dora=true"


@pytest.mark.parametrize("key", ["outputs", "data.path", "backbone.path", "local"])
def test_a_user_that_there_is_not_has_no_home(key: str) -> None:
    (line,) = told(f'{key}="~nosuchuser/x"')
    assert line == (
        f"{key}=~nosuchuser/x: not accepted; accepted: a path, in which ~ or ~USER is the home of a user"
        + ", or null" * (key != "outputs")
    )


def test_a_broken_file_of_a_group_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("name: [", encoding="utf-8")
    (line,) = override_errors([f"--config-dir={tmp_path}", "method=mine"])
    assert line.startswith("method=mine: while parsing")
    assert "mine.yaml" in line
    assert "; accepted: " in line


def test_no_word_is_parsed_that_is_none() -> None:
    with pytest.raises(SpecError, match=r"^outputs=~: not an override"):
        spelled("outputs=~")
