"""Every file of conf/, walked recursively: each composes, each value of a recipe has a source."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments.commands.search import space
from experiments.configuration.groups import CONF, options
from experiments.configuration.resolvers import columns
from experiments.configuration.spec import parse
from schema.run import RunSpec

FILES = sorted(CONF.rglob("*.yaml"))
COLUMNS = [(name, task) for name in options("recipe") for task in columns(name)]
EMBEDDED = {
    "embedded-encoder": "glue/sst2",
    "embedded-vit": "vision/digits",
    "embedded-causal": "math/gsm8k",
}
FOR_EVERY_TASK = [name for name in options("recipe") if name != "default" and not columns(name)]


def load(*overrides: str) -> RunSpec:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return parse(compose("config", list(overrides)))[0]


def test_the_walk_sees_every_file() -> None:
    # At least what there was when the walk was last counted by hand; whoever adds a file need not count.
    assert len(FILES) >= 136
    assert len(COLUMNS) >= 93
    assert len(FOR_EVERY_TASK) >= 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONF).as_posix())
def test_every_file_is_a_mapping_with_a_header(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), dict)
    assert text.startswith("#"), "the header says what the file is for"


@pytest.mark.parametrize(("method", "task"), list(product(options("method"), options("task"))))
def test_every_method_composes_with_every_task_embedded(method: str, task: str) -> None:
    spec = load("profile=embedded", f"method={method}", f"task={task}")
    assert spec.data.source == spec.backbone.source == "embedded"
    recipe = f"{method}/{spec.backbone.name}"
    assert spec.recipe.name == (recipe if (CONF / "recipe" / f"{recipe}.yaml").exists() else "default")


def says_where_its_values_are_from(spec: RunSpec, method: str) -> None:
    """Only what a search took part in counts as of equal budget; what does not train has nothing to search."""
    source = spec.recipe.sources["all"]
    search = re.search(r"conf/search/(\S+)\.yaml", source)
    assert "unsearched" not in source
    assert (spec.track == "equal_budget") == (search is not None or method == "untrained")
    assert search is None or method in space(search[1]).trials


@pytest.mark.parametrize(("recipe", "task"), COLUMNS)
def test_every_column_of_a_recipe_is_found_by_method_backbone_and_task(recipe: str, task: str) -> None:
    method, backbone = recipe.split("/")
    hub = OmegaConf.load(CONF / "backbone" / f"{backbone}.yaml").hub
    local = [] if hub else ["backbone.source=local", "backbone.path=FOLDER"]
    spec = load(f"method={method}", f"backbone={backbone}", f"task={task}", *local)
    assert spec.recipe.name == f"{recipe}/{task}"
    says_where_its_values_are_from(spec, method)


@pytest.mark.parametrize("recipe", FOR_EVERY_TASK)
def test_a_recipe_for_every_task_is_found_by_the_embedded_profile(recipe: str) -> None:
    method, backbone = recipe.split("/")
    spec = load("profile=embedded", f"method={method}", f"task={EMBEDDED[backbone]}")
    assert spec.recipe.name == recipe
    says_where_its_values_are_from(spec, method)


def test_no_config_group_bears_the_name_of_a_top_level_value() -> None:
    # Hydra would take `seed=0` for a choice of group `seed`.
    values = OmegaConf.load(CONF / "base.yaml")
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert groups & set(values) == {"recipe"}
