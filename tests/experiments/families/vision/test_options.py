"""Options of timm: those that its own examples use are taken, what it would stumble over later is one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from experiments.families.vision.options import AUGMENTATION, EVALUATION, MIXING, option_errors
from experiments.families.vision.transforms import TRAINING_DEFAULTS

DEFAULTS = {name: list(value) if isinstance(value, tuple) else value for name, value in TRAINING_DEFAULTS.items()}
POLICIES = ("rand-m9-mstd0.5-inc1", "augmix-m5-w4", "original", "3a")


@pytest.mark.parametrize(
    ("kinds", "options"),
    [
        (AUGMENTATION, DEFAULTS),
        *((AUGMENTATION, {"auto_augment": policy}) for policy in POLICIES),
        (
            AUGMENTATION,
            {"color_jitter": [0.4, 0.4, 0.4], "re_prob": 0.5, "re_mode": "pixel", "interpolation": "random"},
        ),
        (MIXING, {"mixup_alpha": 0.8, "cutmix_alpha": 1, "mode": "elem", "cutmix_minmax": [0.2, 0.8]}),
        (EVALUATION, {"crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic"}),
    ],
)
def test_what_timm_takes_is_accepted(kinds: Mapping[str, Any], options: Mapping[str, object]) -> None:
    assert list(option_errors("task.x", options, kinds)) == []


@pytest.mark.parametrize(
    ("kinds", "name", "value", "accepted"),
    [
        (AUGMENTATION, "auto_augment", "nosuch", "a policy of timm"),
        (AUGMENTATION, "scale", "abc", "a list of two numbers above 0"),
        (AUGMENTATION, "re_prob", 7, "a number from 0 to 1"),
        (AUGMENTATION, "hflip", True, "a number from 0 to 1"),
        (AUGMENTATION, "re_mode", "nosuch", "one of const, rand, pixel"),
        (MIXING, "mixup_alpha", -1, "a number from 0 to 1e30"),
        (MIXING, "mixup_alpha", "abc", "a number from 0 to 1e30"),
        (EVALUATION, "crop_pct", -1, "a number above 0, at most 2"),
        (EVALUATION, "interpolation", "nosuch", "one of random, nearest"),
    ],
)
def test_what_timm_does_not_take_is_one_line(kinds: Mapping[str, Any], name: str, value: object, accepted: str) -> None:
    (line,) = option_errors("task.x", {name: value}, kinds)
    assert line.startswith(f"task.x.{name}=")
    assert f": not accepted; accepted: {accepted}" in line


def test_an_option_that_timm_does_not_have_is_one_line() -> None:
    (line,) = option_errors("task.x", {"nosuch": 1}, MIXING)
    assert line.startswith("task.x.nosuch: unknown option; accepted: cutmix_alpha, ")
