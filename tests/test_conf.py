"""Every file of conf/, walked recursively: each composes, each value of a recipe has a source."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments.commands.search import space
from experiments.configuration.overrides import CONF, options
from experiments.configuration.spec import parse
from schema.run import RunSpec

FILES = sorted(CONF.rglob("*.yaml"))
RECIPES = [name for name in options("recipe") if name != "default"]
EMBEDDED = {
    "embedded-encoder": "glue/sst2",
    "embedded-vit": "vision/digits",
    "embedded-causal": "math/gsm8k",
}
SEARCHED = ("minilm-l6", "deit-tiny-patch16-224", "stories260K-llama")


def load(*overrides: str) -> RunSpec:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return parse(compose("config", list(overrides)))[0]


def test_the_walk_sees_every_file() -> None:
    # A new file raises this number, so that none goes unseen by the tests below.
    assert len(FILES) == 253


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONF).as_posix())
def test_every_file_is_a_mapping_with_a_header(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), dict)
    assert text.startswith("#"), "the header says what the file is for"


@pytest.mark.parametrize(("method", "task"), list(product(options("method"), options("task"))))
def test_every_method_composes_with_every_task_embedded(method: str, task: str) -> None:
    spec = load("profile=embedded", f"method={method}", f"task={task}")
    assert spec["recipe"]["name"] != "default", "the embedded profile has a recipe for every method"
    assert spec["data"]["source"] == spec["backbone"]["source"] == "embedded"


def track_of(method: str, backbone: str) -> str:
    """Only what a search took part in counts as of equal budget; what does not train has nothing to search."""
    if backbone in EMBEDDED:
        searched = backbone in options("search") and method in {*space(backbone).trials, "untrained"}
        return "equal_budget" if searched else "unsearched"
    return "equal_budget" if backbone in SEARCHED else "published"


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_found_by_its_method_backbone_and_task(recipe: str) -> None:
    method, backbone, *task = recipe.split("/")
    if backbone in EMBEDDED:
        spec = load("profile=embedded", f"method={method}", f"task={EMBEDDED[backbone]}")
    else:
        local = ["backbone.source=local", "backbone.path=FOLDER"] if backbone in SEARCHED else []
        spec = load(f"method={method}", f"backbone={backbone}", f"task={'/'.join(task)}", *local)
    assert spec["recipe"]["name"] == recipe
    assert spec["track"] == track_of(method, backbone)
    assert spec["recipe"]["sources"]["all"]
    assert "unsearched" not in spec["recipe"]["sources"]["all"]


def test_no_config_group_bears_the_name_of_a_top_level_value() -> None:
    # Hydra would take `seed=0` for a choice of group `seed`.
    values = OmegaConf.load(CONF / "base.yaml")
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert groups & set(values) == {"recipe"}
