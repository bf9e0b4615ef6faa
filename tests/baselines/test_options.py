"""Values of a method's options: those of the types and ranges of its class, each other one told in a line."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import peft
import pytest
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

import gpart  # noqa: F401  first: it repairs a torchvision that does not fit torch
from baselines.options import refusal, value_errors
from gpart import GPartConfig


@pytest.mark.parametrize("kind", [*PEFT_TYPE_TO_CONFIG_MAPPING.values(), GPartConfig], ids=lambda kind: kind.__name__)
def test_what_a_class_has_by_default_is_accepted(kind: type[Any]) -> None:
    defaults = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    plain = {name: value for name, value in defaults.items() if isinstance(value, bool | int | float | str | None)}
    assert value_errors(kind, plain) == []
    assert value_errors(kind, {name: None for name, value in plain.items() if value is None}) == []


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (peft.LoraConfig, {"r": 4, "lora_dropout": 0, "target_modules": ["query"], "rank_pattern": {"query": 2}}),
        (peft.LoraConfig, {"init_lora_weights": "pissa_niter_16", "layer_replication": [[0, 1]], "bias": "lora_only"}),
        (peft.LoraConfig, {"init_lora_weights": False, "loftq_config": {"loftq_bits": 4}, "eva_config": None}),
        (peft.LoraConfig, {"target_modules": r".*\.(query|value)", "alpha_pattern": {"query": 0.5}}),
        (peft.OFTConfig, {"r": 0}),
        (peft.VeraConfig, {"projection_prng_key": 2**62, "save_projection": False, "d_initial": -0.5}),
        (GPartConfig, {"isometric": False, "cache_ids": None, "target_modules": ["query"], "task_type": None}),
    ],
)
def test_right_values_are_accepted(kind: type, options: dict[str, object]) -> None:
    assert value_errors(kind, options) == []


@pytest.mark.parametrize(
    ("kind", "name", "value", "accepted"),
    [
        (peft.LoraConfig, "r", 0, "an integer from 1 to 65536"),
        (peft.LoraConfig, "r", 10**9, "an integer from 1 to 65536"),
        (peft.LoraConfig, "r", "8", "a valid integer"),
        (peft.LoraConfig, "r", True, "a valid integer"),
        (peft.LoraConfig, "bias", "nosuch", "'none', 'all' or 'lora_only'"),
        (peft.LoraConfig, "init_lora_weights", 2, "a valid boolean, or 'gaussian', "),
        (peft.LoraConfig, "init_lora_weights", "pissa_niter_x", "a valid boolean, or 'gaussian', "),
        (peft.LoraConfig, "target_modules", [1], "a valid string"),
        (peft.LoraConfig, "target_modules", "([", "a regular expression (unterminated"),
        (peft.LoraConfig, "lora_alpha", float("nan"), "a valid integer"),
        (peft.LoraConfig, "lora_alpha", 0, "a number above 0"),
        (peft.LoraConfig, "lora_dropout", True, "a valid number"),
        (peft.LoraConfig, "lora_dropout", 1, "a number of at least 0 and below 1"),
        (peft.LoraConfig, "rank_pattern", {"query": 0}, "an integer from 1 to 65536"),
        (peft.LoraConfig, "runtime_config", {"a": 1}, "null"),
        (peft.LoraConfig, "modules_to_save", ["classifier"], "none"),
        (peft.LoraConfig, "inference_mode", True, "none"),
        (peft.LoraConfig, "megatron_config", {"a": 1}, "none"),
        (peft.VeraConfig, "projection_prng_key", "abc", "a valid integer"),
        (peft.VeraConfig, "save_projection", "maybe", "a valid boolean"),
        (peft.VeraConfig, "d_initial", 1e300, "a number from -1e30 to 1e30"),
        (peft.UniLoraConfig, "init_theta_d_bound", float("inf"), "a finite number"),
        (peft.UniLoraConfig, "proj_seed", [1, 2], "a valid integer"),
        (peft.UniLoraConfig, "theta_d_length", 10**9, "an integer from 1 to 16777216"),
        (GPartConfig, "isometric", "", "a valid boolean"),
        (GPartConfig, "isometric", 2, "a valid boolean"),
        (GPartConfig, "partition", {"a": 1}, "none"),
    ],
)
def test_a_wrong_value_is_one_line(kind: type, name: str, value: object, accepted: str) -> None:
    (line,) = value_errors(kind, {name: value})
    assert line.startswith(f"method.config.{name}=")
    assert f"; accepted: {accepted}" in line


def test_all_wrong_values_are_told_at_once() -> None:
    lines = value_errors(peft.LoraConfig, {"r": 0, "bias": "no", "peft_type": "VERA", "lora_alpha": 8})
    assert [line.partition("=")[0] for line in lines] == [
        "method.config.peft_type",
        "method.config.r",
        "method.config.bias",
    ]


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("d: 0; accepted are integers from 1", "method.config.d=0: not accepted; accepted: integers from 1"),
        ("d: 0 exceeds it; accepted are 1 to 9", "method.config.d=0: exceeds it; accepted: 1 to 9"),
        ("`r` should be positive", "method.config.r=3: `r` should be positive; accepted: another value"),
        ("Unknown r=3\n here", "method.config.r=3: Unknown r=3 here; accepted: another value"),
        ("no words", "method.config: no words; accepted: options that go together, and with the backbone"),
    ],
)
def test_a_refusal_of_the_class_names_the_option_and_its_value(message: str, line: str) -> None:
    assert refusal({"d": 0, "r": 3}, ValueError(message)) == line
