"""`--config-dir DIR`: groups outside of the checkout are found, suggested and run as those of conf/ are."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from experiments.configuration.groups import CONF, found, options, searched
from experiments.configuration.overrides import override_errors
from tests.experiments.conftest import Runner

METHOD = """\
# FourierFT.
#   python run.py --config-dir DIR method=fourier
name: fourier
result_version: 1
capacity: n_frequency
decay_vectors: false
config: {_target_: peft.FourierFTConfig, target_modules: "${backbone.target_modules}", n_frequency: null}
"""
RECIPE = """\
# @package _global_
recipe:
  name: fourier/of-a-test/${column:}
  sources:
    all: a test
    tasks:          glue/of-a-test, glue/sst2
  epochs:  ${column:7,         8}
  d: 100
"""
MINE = ["method=fourier", "task=glue/of-a-test", "backbone=of-a-test", "data=of-a-test"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of groups with a choice in each, its name as awkward as names get."""
    folder = tmp_path / "my 'own' groups, all"
    sst2 = (CONF / "task" / "glue" / "sst2.yaml").read_text(encoding="utf-8")
    roberta = (CONF / "backbone" / "roberta-base.yaml").read_text(encoding="utf-8")
    gsm8k = (CONF / "prompt" / "plain.yaml").read_text(encoding="utf-8")
    hub = (CONF / "data" / "hub.yaml").read_text(encoding="utf-8")
    for name, text in {
        "method/fourier": METHOD,
        "task/glue/of-a-test": sst2.replace("glue/sst2", "glue/of-a-test"),
        "backbone/of-a-test": roberta.replace("name: roberta-base", "name: of-a-test"),
        "recipe/fourier/of-a-test": RECIPE,
        "data/of-a-test": hub,
        "prompt/of-a-test": gsm8k.replace("name: plain", "name: of-a-test"),
    }.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("flag", ["--config-dir", "-cd"])
def test_its_groups_are_accepted_with_the_flag_and_refused_without(flag: str, folder: Path) -> None:
    assert override_errors([flag, str(folder), *MINE, "recipe=fourier/of-a-test"]) == []
    assert override_errors([flag, str(folder), "-m", *MINE, "seed=0,1"]) == []
    assert [line.partition(":")[0] for line in override_errors([*MINE, "recipe=fourier/of-a-test"])] == [
        *MINE,
        "recipe=fourier/of-a-test",
    ]


@pytest.mark.parametrize("scheme", ["file://", ""])
def test_the_folders_of_the_searchpath_are_searched_as_well(scheme: str, folder: Path) -> None:
    place = str(folder).replace("'", "\\'")
    assert override_errors([f"hydra.searchpath=['{scheme}{place}']", *MINE]) == []
    (line,) = override_errors([f"hydra.searchpath=['{scheme}{place}']", "method=fourie"])
    assert "did you mean fourier?" in line


def test_a_folder_is_relative_to_where_the_command_is_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert override_errors(["-cd", folder.name, *MINE]) == []


def test_a_primary_configuration_of_ones_own_includes_that_of_the_suite(folder: Path) -> None:
    (folder / "own.yaml").write_text("defaults: [config, _self_]\nd: 0\n", encoding="utf-8")
    (line,) = override_errors([f"--config-dir={folder}", "-cn", "own"])
    assert line.startswith("d=0: not accepted")
    assert override_errors([f"--config-dir={folder}", "-cn", "own", "d=5"]) == []


def test_its_prompts_are_found(folder: Path) -> None:
    words = ["task=math/gsm8k", "task.prompt=of-a-test"]
    assert override_errors([f"--config-dir={folder}", *words]) == []
    (line,) = override_errors(words)
    assert line.startswith("task.prompt=of-a-test: no such template; accepted: alpaca, ")


def test_suggestions_and_lists_include_its_choices(folder: Path) -> None:
    (line,) = override_errors(["--config-dir", str(folder), "method=fourie"])
    assert "did you mean fourier?" in line
    assert {"gpart", "fourier"} <= set(line.replace(",", "").split())


def test_it_is_forgotten_afterwards(folder: Path) -> None:
    with searched(folder):
        assert found("method", "fourier") is not None
    assert found("method", "fourier") is None
    assert "fourier" not in options("method")


def test_hydra_finds_its_groups_and_its_recipe_by_method_backbone_and_task(folder: Path, run_py: Runner) -> None:
    # Flags between overrides, and the null that config.yaml itself has: both need the words put in order for Hydra.
    ended = run_py(*MINE, "--config-dir", str(folder), "profile=null", "--cfg", "job", "seed=3", "--resolve")
    assert (ended.returncode, ended.stderr) == (0, "")
    config = yaml.safe_load(ended.stdout)
    assert config["seed"] == 3
    assert config["recipe"]["name"] == "fourier/of-a-test/glue/of-a-test"
    assert (config["recipe"]["epochs"], config["recipe"]["d"]) == (7, 100)
    assert config["method"]["config"]["_target_"] == "peft.FourierFTConfig"


def test_a_folder_that_does_not_exist_is_one_line(tmp_path: Path, run_py: Runner) -> None:
    ended = run_py("--config-dir", str(tmp_path / "nowhere"), "method=gpart")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"error: --config-dir={tmp_path / 'nowhere'}: no such folder; accepted: an existing folder"
    ]
