"""What every key of a run accepts, as data: `RULES` for all families of tasks, `FAMILY_RULES` for one each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Rule = tuple[Callable[[Any], bool], str]
"""A check of a value, and in words what it accepts."""


def _integer(low: int, high: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(low: float, high: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _positive(value: Any) -> bool:
    return _number(0)(value) and value > 0


def _one_of(*choices: Any) -> Rule:
    return (lambda value: value in choices), "one of " + ", ".join(map(str, choices))


def _optional(rule: Rule) -> Rule:
    check, accepted = rule
    return (lambda value: value is None or check(value)), accepted + ", or null"


def _names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) and item for item in value)


_SEED: Rule = (_integer(0, 2**32 - 1), "an integer from 0 to 4294967295")
_COUNT: Rule = (_integer(1), "an integer of at least 1")
_FLAG: Rule = ((lambda value: isinstance(value, bool)), "true or false")
_TEXT: Rule = ((lambda value: isinstance(value, str) and bool(value)), "a text")
_RATE: Rule = (_positive, "a number above 0")
_NOT_NEGATIVE: Rule = (_number(0), "a number of at least 0")
_FRACTION: Rule = (_number(0, 1), "a number from 0 to 1")
_BELOW_ONE: Rule = ((lambda value: _number(0)(value) and value < 1), "a number of at least 0 and below 1")
_SETTINGS: Rule = ((lambda value: isinstance(value, dict)), "a mapping of options")
_SEVERAL: Rule = (_integer(2), "an integer of at least 2")
_ODD: Rule = ((lambda value: _integer(3)(value) and value % 2 == 1), "an odd integer of at least 3")
_MEASURES = ("isometry", "landscape")
_SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")

RULES: Mapping[str, Rule] = {
    "seed": _SEED,
    "d": _optional(_COUNT),
    "plan": _FLAG,
    "test": _FLAG,
    "rerun": _FLAG,
    "outputs": _TEXT,
    "isolation": _one_of("process", "none"),
    "local": _optional(_TEXT),
    "threads": _optional(_COUNT),
    "hub_timeout": _RATE,
    "keep_checkpoint": _FLAG,
    "round_trip": _FLAG,
    "track": _one_of("published", "equal_budget", "unsearched"),
    **{f"seeds.{name}": _SEED for name in ("partition", "init", "head", "data", "split")},
    "method.name": _TEXT,
    "method.capacity": _optional(_TEXT),
    "method.decay_vectors": _FLAG,
    "method.result_version": _COUNT,
    "task.name": _TEXT,
    "task.family": _one_of("glue", "vision", "math"),
    "data.source": _one_of("hub", "local", "embedded"),
    "data.path": _optional(_TEXT),
    "data.train_rows": _optional(_COUNT),
    "data.test_rows": _optional(_COUNT),
    "backbone.name": _TEXT,
    "backbone.family": _one_of("glue", "vision", "math"),
    "backbone.source": _one_of("hub", "local", "embedded"),
    "backbone.hub": _optional(_TEXT),
    "backbone.revision": _TEXT,
    "backbone.path": _optional(_TEXT),
    "backbone.target_modules": ((lambda v: _names(v) or _TEXT[0](v)), "a list of module names or a pattern"),
    "backbone.head": ((lambda v: v == [] or _names(v)), "a list of module names"),
    "recipe.name": _TEXT,
    "recipe.d": _optional(_COUNT),
    "recipe.epochs": _RATE,
    "recipe.batch_size": _COUNT,
    "recipe.accumulation": _COUNT,
    "recipe.eval_batch_size": _COUNT,
    "recipe.learning_rate": _RATE,
    "recipe.head_learning_rate": _RATE,
    "recipe.weight_decay": _NOT_NEGATIVE,
    "recipe.warmup_ratio": _FRACTION,
    "recipe.schedule": _one_of(*_SCHEDULES),
    "recipe.max_grad_norm": _NOT_NEGATIVE,
    "recipe.dropout": _BELOW_ONE,
    "recipe.label_smoothing": _BELOW_ONE,
    "recipe.precision": _one_of("float32", "bfloat16", "float16"),
    "recipe.group_by_length": _FLAG,
    "protocol.name": _one_of("heldout", "best_on_dev"),
    "diagnostics.name": _TEXT,
    "diagnostics.measures": (
        (lambda value: isinstance(value, list) and set(map(str, value)) <= set(_MEASURES)),
        "a list, any of " + ", ".join(_MEASURES),
    ),
    "diagnostics.seed": _SEED,
    "diagnostics.snapshots": _SEVERAL,
    **{f"diagnostics.{name}": _COUNT for name in ("pairs", "dense_limit", "spectrum", "rows", "eigenvalues")},
    "diagnostics.grid": _ODD,
    "diagnostics.directions": _SEVERAL,
    "diagnostics.extent": _RATE,
    "logger.wandb": _one_of("offline", "online", "disabled"),
    "logger.project": _TEXT,
    "logger.entity": _optional(_TEXT),
}
"""Every key of a run outside the free parts, with what it accepts."""

FAMILY_RULES: Mapping[str, Mapping[str, Rule]] = {
    "glue": {
        "backbone.pooling": _one_of("model", "mean", "cls"),
        "backbone.max_length": _COUNT,
    },
    "vision": {
        "backbone.library": _one_of("transformers", "timm"),
        "backbone.image_size": _optional(_COUNT),
        "backbone.split_qkv": _FLAG,
        "task.augmentation": _SETTINGS,
        "task.mixing": _SETTINGS,
        "task.evaluation": _SETTINGS,
    },
    "math": {
        "backbone.max_length": _COUNT,
        "task.prompt": _TEXT,
        "task.loss": _one_of("response", "text"),
        "task.packing": _FLAG,
        "task.keep": _one_of("first", "last"),
        "task.calculator_marks": _one_of("keep", "drop"),
        "task.max_new_tokens": _COUNT,
        "task.generation": _one_of("transformers", "vllm"),
    },
}
"""The keys that runs of one family of tasks have besides; other families' keys are unknown to them."""


def rules(family: object) -> dict[str, Rule]:
    """Every key of a run of a family of tasks; those of all families alone where there is no such family."""
    own = FAMILY_RULES.get(family, {}) if isinstance(family, str) else {}
    return {**RULES, **own}
