from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from experiments.configuration.overrides import CONF, override_errors
from experiments.configuration.spec import parse
from experiments.errors import SpecError
from schema.run import RunSpec


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


def spec(*overrides: str) -> RunSpec:
    return parse(composed(*overrides))[0]


def test_d_goes_to_the_methods_capacity() -> None:
    assert spec("method=gpart", "d=77").method.config["d"] == 77
    assert spec("method=unilora", "d=77").method.config["theta_d_length"] == 77


def test_without_d_the_recipe_decides() -> None:
    assert spec("method=gpart", "task=glue/sst2").method.config["d"] == 23040


def test_a_method_without_capacity_drops_d_with_a_notice() -> None:
    (with_d, notices), (without, none) = (parse(composed("method=lora", *d)) for d in (["d=77"], []))
    assert with_d == without
    assert none == []
    assert len(notices) == 1
    assert "d=77" in notices[0]
    assert "lora" in notices[0]


def test_seeds_follow_seed_and_can_be_set_alone() -> None:
    seeds = spec("seed=5", "seeds.head=9").seeds
    assert seeds.model_dump() == {"partition": 5, "init": 5, "head": 9, "data": 5, "split": 5}


def test_embedded_tasks_never_pass_for_the_real_ones() -> None:
    assert spec("profile=embedded", "task=glue/sst2").task_name == "embedded/glue/sst2"
    assert spec("task=glue/sst2").task_name == "glue/sst2"


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "true", "many"])
def test_d_must_be_a_positive_integer(value: str) -> None:
    with pytest.raises(SpecError) as refusal:
        spec(f"d={value}")
    assert refusal.value.errors == [f"d={value}: not accepted; accepted: an integer from 1 to 2147483647, or null"]


def test_all_errors_come_at_once() -> None:
    with pytest.raises(SpecError) as refusal:
        spec("d=0", "recipe.epochs=-1", "protocol.name=guess", "recipe.dropout=1.0")
    assert [line.split("=")[0] for line in refusal.value.errors] == [
        "d",
        "recipe.epochs",
        "recipe.dropout",
        "protocol.name",
    ]


def test_a_local_source_needs_a_folder() -> None:
    with pytest.raises(SpecError) as refusal:
        spec("data=local", "backbone.source=local")
    assert [line.split("=")[0] for line in refusal.value.errors] == ["data.path", "backbone.path"]


@pytest.mark.parametrize("section", ["", "method.", "task.", "task.hub.", "backbone.", "recipe.", "logger."])
def test_an_unknown_key_is_named_in_every_section(section: str) -> None:
    with pytest.raises(SpecError) as refusal:
        spec(f"+{section}nosuch=1")
    assert len(refusal.value.errors) == 1
    assert refusal.value.errors[0].startswith(f"{section}nosuch: unknown key; accepted: ")


def test_what_was_meant_is_suggested_behind_a_plus() -> None:
    with pytest.raises(SpecError) as refusal:
        spec("+task.sellection_fraction=0.5")
    assert "did you mean task.selection_fraction?" in refusal.value.errors[0]


@pytest.mark.parametrize("key", ["epochs", "learning_rate", "head_learning_rate", "weight_decay", "max_grad_norm"])
def test_infinity_is_no_value_of_a_recipe(key: str) -> None:
    with pytest.raises(SpecError) as refusal:
        spec(f"recipe.{key}=inf")
    assert refusal.value.errors[0].startswith(f"recipe.{key}=inf: not accepted; accepted: a number ")


def test_wrong_overrides_are_named_together_with_what_exists() -> None:
    errors = override_errors(["method=gprt", "task=glue/nope", "recipe=foo", "foo=1", "recipe.epoch=3", "d=0"])
    assert [line.split(":")[0] for line in errors] == [
        "method=gprt",
        "task=glue/nope",
        "recipe=foo",
        "foo",
        "recipe.epoch",
        "d=0",
    ]
    assert "did you mean gpart?" in errors[0]
    assert "glue/sst2" in errors[1]
    assert "did you mean recipe.epochs?" in errors[4]


def test_sweeps_are_checked_for_every_choice() -> None:
    errors = override_errors(["-m", "method=gpart,gprt,lora", "task=glue/sst2", "seed=0,1"])
    assert len(errors) == 1
    assert errors[0].startswith("method=gprt: unknown method")


def test_right_overrides_have_no_errors() -> None:
    assert override_errors(["method=gpart", "task=glue/sst2", "d=23040", "method.config.scheme=balanced"]) == []
    assert override_errors(["-m", "method=gpart,lora", "seed=0,1,2"]) == []
    assert override_errors(["+method.config.keep_base=true"]) == []


def test_something_that_is_no_override_is_refused() -> None:
    errors = override_errors(["gpart"])
    assert len(errors) == 1
    assert errors[0].startswith("gpart: not an override")


def test_classes_are_smoothed_and_numbers_are_not() -> None:
    assert override_errors(["task=glue/sst2", "recipe.label_smoothing=0.1"]) == []
    assert override_errors(["task=glue/stsb", "recipe.label_smoothing=0.1"]) == [
        "recipe.label_smoothing=0.1: task=glue/stsb has numbers for labels; accepted: 0"
    ]
    assert (
        override_errors(["task=math/gsm8k", "backbone=causal", "backbone.hub=a/b", "recipe.label_smoothing=0.1"]) == []
    )


def test_a_negative_zero_makes_no_other_run() -> None:
    assert spec("recipe.weight_decay=-0.0", "recipe.dropout=-0.0") == spec(
        "recipe.weight_decay=0.0", "recipe.dropout=0.0"
    )


@pytest.mark.parametrize("name", ["../../x", "/x", ".x", "a b", ""])
def test_what_becomes_the_name_of_a_folder_is_a_name(name: str) -> None:
    errors = override_errors(["recipe=default", f"method.name='{name}'", f"task.name='{name}'"])
    assert [line.partition("=")[0] for line in errors] == ["method.name", "task.name"]
