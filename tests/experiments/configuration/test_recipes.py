"""Recipes: a column per task, chosen by method, backbone and task, and changed by whatever comes after."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments.configuration import resolvers
from experiments.configuration.groups import CONF, searched
from experiments.configuration.overrides import override_errors
from experiments.configuration.spec import parse
from experiments.errors import SpecError
from schema.run import RunSpec
from schema.sections import Recipe

TASKS = [f"glue/{task}" for task in ("cola", "sst2", "mrpc", "qnli", "rte", "stsb")]
# The tables of hyperparameters as the sources print them, in the order of TASKS.
PUBLISHED = {
    # arXiv 2605.14841's code (SamsungLabs/GPart at 320f0c1, src/configs): its own method, and its re-runs.
    ("gpart/roberta-base", "epochs"): [80, 60, 30, 25, 160, 80],
    ("gpart/roberta-base", "head_learning_rate"): [2e-3, 5e-4, 1e-3, 1e-3, 1e-2, 2e-4],
    ("gpart/roberta-large", "epochs"): [60, 30, 40, 25, 120, 80],
    ("gpart/roberta-large", "head_learning_rate"): [2e-2, 2e-4, 2e-3, 5e-3, 5e-3, 1e-4],
    ("unilora/roberta-base", "head_learning_rate"): [5e-3, 1e-4, 2e-2, 2e-4, 5e-4, 2e-4],
    ("unilora/roberta-large", "epochs"): [40, 20, 40, 20, 40, 40],
    ("lora/roberta-base", "batch_size"): [32, 16, 16, 32, 32, 16],
    ("lora/roberta-base", "learning_rate"): [4e-4, 5e-4, 4e-4, 4e-4, 4e-4, 4e-4],
    # VeRA, arXiv 2310.11454, appendix on hyperparameters.
    ("vera/roberta-base", "learning_rate"): [1e-2, 4e-3, 1e-2, 1e-2, 4e-3, 1e-2],
    ("vera/roberta-large", "head_learning_rate"): [6e-3, 6e-3, 3e-3, 2e-4, 2e-3, 2e-3],
}


def spec(*overrides: str) -> RunSpec:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return parse(compose("config", list(overrides)))[0]


def recipe(*overrides: str) -> Recipe:
    return spec(*overrides).recipe


@pytest.mark.parametrize(("name", "key"), list(PUBLISHED))
def test_a_column_holds_what_the_paper_prints_for_its_task(name: str, key: str) -> None:
    content = OmegaConf.merge(OmegaConf.load(CONF / "recipe" / f"{name}.yaml"), {"task": {"name": None}})
    for task, published in zip(TASKS, PUBLISHED[name, key], strict=True):
        content.task.name = task
        assert content.recipe[key] == published, task


def test_what_is_typed_wins_over_a_column() -> None:
    found = recipe("task=glue/rte", "recipe.epochs=3")
    assert (found.epochs, found.head_learning_rate) == (3, 0.01)


def test_an_experiment_wins_over_a_column_and_the_command_line_over_both(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "short.yaml").write_text(
        "# @package _global_\nrecipe: {epochs: 2, head_learning_rate: 0.5}\n"
    )
    path = f"hydra.searchpath=[file://{tmp_path}]"
    found = recipe(path, "experiment=short", "task=glue/rte", "recipe.head_learning_rate=0.25")
    assert (found.epochs, found.head_learning_rate) == (2, 0.25)


@pytest.mark.parametrize("task", ["glue/wnli", "glue/mnli"])
def test_a_task_that_is_no_column_has_the_default_and_nothing_of_the_file(task: str) -> None:
    found, named = spec("method=gpart", "backbone=roberta-base", f"task={task}"), spec("recipe=default", f"task={task}")
    assert found == named
    assert (found.recipe.name, found.track) == ("default", "unsearched")


def test_a_recipe_for_generated_tasks_is_not_taken_for_real_ones() -> None:
    assert recipe("backbone=embedded-encoder", "task=glue/sst2").name == "default"
    assert recipe("profile=embedded", "task=glue/sst2").name == "gpart/embedded-encoder"


def test_a_recipe_can_be_asked_for_by_name_and_lent_to_another_method() -> None:
    assert recipe("method=vera", "recipe=lora/roberta-base", "task=glue/mrpc").batch_size == 16


def test_a_recipe_without_a_column_for_the_task_is_one_line_that_names_the_columns() -> None:
    for words in (["task=glue/wnli"], ["-m", "task=glue/sst2,glue/wnli", "seed=0,1"]):
        (line,) = override_errors(["recipe=full/roberta-base", *words])
        assert line == (
            "recipe=full/roberta-base: no column for task=glue/wnli; accepted: recipe=default, "
            "or task=glue/cola, glue/mrpc, glue/qnli, glue/rte, glue/sst2, glue/stsb"
        )


def test_a_recipe_that_does_not_exist_is_one_line_with_a_suggestion() -> None:
    (line,) = override_errors(["recipe=gpart/roberta-bas"])
    assert line.startswith("recipe=gpart/roberta-bas: unknown recipe (did you mean gpart/roberta-base?); accepted: ")


def test_a_row_with_another_number_of_values_than_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe" / "lora").mkdir(parents=True)
    (tmp_path / "recipe" / "lora" / "vit.yaml").write_text(
        "# @package _global_\nrecipe:\n  sources: {tasks: 'glue/cola, glue/sst2'}\n  epochs: ${column:1, 2, 3}\n"
    )
    words = [f"hydra.searchpath=[file://{tmp_path}]", "recipe=lora/vit", "task=glue/sst2"]
    with searched(tmp_path), pytest.raises(SpecError, match="3 values for 2 tasks"):
        spec(*words)


def test_columns_are_read_from_the_file() -> None:
    assert resolvers.columns("unilora/minilm-l6") == ["glue/sst2"]
    assert len(resolvers.columns("gpart/vit-base")) == 8
    assert resolvers.columns("gpart/embedded-vit") == []
    assert resolvers.columns("../base") == []
