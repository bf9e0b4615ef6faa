"""The RunSpec: one run's resolved configuration, checked before anything is loaded or written.

This module imports neither torch nor transformers, so that a wrong key is answered at once; what needs the shapes of
the backbone is checked in `experiments.preflight`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.errors import SpecError

Config = dict[str, Any]

TRAINER_VERSION = 1
"""Raised by hand when a change of the training or evaluation code changes results; part of a run's identity."""


def _integer(low: int, high: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(low: float, high: float = math.inf) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _positive(value: Any) -> bool:
    return _number(0)(value) and value > 0


def _one_of(*choices: Any) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: value in choices), "one of " + ", ".join(map(str, choices))


def _optional(rule: tuple[Callable[[Any], bool], str]) -> tuple[Callable[[Any], bool], str]:
    check, accepted = rule
    return (lambda value: value is None or check(value)), accepted + ", or null"


def _names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) and item for item in value)


_SEED = (_integer(0, 2**32 - 1), "an integer from 0 to 4294967295")
_COUNT = (_integer(1), "an integer of at least 1")
_FLAG = ((lambda value: isinstance(value, bool)), "true or false")
_TEXT = ((lambda value: isinstance(value, str) and bool(value)), "a text")
_RATE = (_positive, "a number above 0")
_NOT_NEGATIVE = (_number(0), "a number of at least 0")
_SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")

# Every key of a run outside method.config and the free-form parts, with what it accepts.
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
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
    "track": _one_of("published", "equal_budget", "unsearched"),
    **{f"seeds.{name}": _SEED for name in ("partition", "init", "head", "data", "split")},
    "method.name": _TEXT,
    "method.capacity": _optional(_TEXT),
    "method.decay_vectors": _FLAG,
    "method.result_version": _COUNT,
    "task.name": _TEXT,
    "task.family": _one_of("glue"),
    "data.source": _one_of("hub", "local", "embedded"),
    "data.path": _optional(_TEXT),
    "data.train_rows": _optional(_COUNT),
    "data.test_rows": _optional(_COUNT),
    "backbone.name": _TEXT,
    "backbone.source": _one_of("hub", "local", "embedded"),
    "backbone.hub": _optional(_TEXT),
    "backbone.revision": _TEXT,
    "backbone.path": _optional(_TEXT),
    "backbone.target_modules": ((lambda v: _names(v) or _TEXT[0](v)), "a list of module names or a pattern"),
    "backbone.head": (_names, "a list of module names"),
    "backbone.pooling": _one_of("model", "mean", "cls"),
    "backbone.max_length": _COUNT,
    "recipe.name": _TEXT,
    "recipe.d": _optional(_COUNT),
    "recipe.epochs": _RATE,
    "recipe.batch_size": _COUNT,
    "recipe.eval_batch_size": _COUNT,
    "recipe.learning_rate": _RATE,
    "recipe.head_learning_rate": _RATE,
    "recipe.weight_decay": _NOT_NEGATIVE,
    "recipe.warmup_ratio": (_number(0, 1), "a number from 0 to 1"),
    "recipe.schedule": _one_of(*_SCHEDULES),
    "recipe.max_grad_norm": _NOT_NEGATIVE,
    "recipe.dropout": ((lambda v: _number(0)(v) and v < 1), "a number of at least 0 and below 1"),
    "recipe.group_by_length": _FLAG,
    "protocol.name": _one_of("heldout", "best_on_dev"),
    "logger.wandb": _one_of("offline", "online", "disabled"),
    "logger.project": _TEXT,
    "logger.entity": _optional(_TEXT),
}
# Sections whose further keys are data of their own: checked by whoever uses them.
FREE = ("method.config", "backbone.architecture", "recipe.sources")
SECTIONS = ("seeds", "method", "task", "data", "backbone", "recipe", "protocol", "logger")


@dataclass(frozen=True)
class RunSpec:
    """One run: its resolved configuration (a plain, nested dict; the keys of `RULES`) and the notices to print."""

    config: Config
    notices: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, composed: DictConfig) -> RunSpec:
        """Resolve and check a composed Hydra configuration.

        Raises:
            SpecError: one line per wrong key, all of them at once.
        """
        try:
            config = cast(Config, OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
        except OmegaConfBaseException as error:
            key = getattr(error, "full_key", None) or "config"
            raise SpecError([f"{key}: {str(error).splitlines()[0]}"]) from None
        errors = _check(config)
        if errors:
            raise SpecError(errors)
        config, notices = _with_capacity(config)
        return cls({**config, "trainer_version": TRAINER_VERSION}, notices)

    def __getitem__(self, section: str) -> Any:
        """A top-level section or value of the configuration."""
        return self.config[section]

    @property
    def task_name(self) -> str:
        """The task as tables print it: a generated task never passes for the real one."""
        prefix = "embedded/" if self["data"]["source"] == "embedded" else ""
        return prefix + self["task"]["name"]


def _select(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return KeyError
        value = value[part]
    return value


def _check(config: Config) -> list[str]:
    errors = []
    for key, (accepts, accepted) in RULES.items():
        value = _select(config, key)
        if value is KeyError:
            errors.append(f"{key}: missing; accepted: {accepted}")
        elif not accepts(value):
            errors.append(f"{key}={_show(value)}: not accepted; accepted: {accepted}")
    errors += [f"{key}: unknown key; accepted: {accepted}" for key, accepted in _unknown(config)]
    errors += _missing_folders(config)
    return errors


def _unknown(config: Config) -> list[tuple[str, str]]:
    unknown = []
    for name, value in config.items():
        if name in SECTIONS and name != "task":
            accepted = [key.split(".")[1] for key in [*RULES, *FREE] if key.startswith(name + ".")]
            unknown += [(f"{name}.{key}", ", ".join(accepted)) for key in value if key not in accepted]
        elif name not in SECTIONS and name not in RULES:
            unknown.append((name, ", ".join([*SECTIONS, *(key for key in RULES if "." not in key)])))
    return unknown


def _missing_folders(config: Config) -> list[str]:
    errors = []
    for section in ("data", "backbone"):
        part = config.get(section)
        if isinstance(part, dict) and part.get("source") == "local" and not part.get("path"):
            errors.append(f"{section}.path=null: {section}.source=local needs a folder; accepted: an existing folder")
    backbone = config.get("backbone")
    if isinstance(backbone, dict) and backbone.get("source") == "hub" and not backbone.get("hub"):
        errors.append("backbone.hub=null: backbone.source=hub needs a name; accepted: OWNER/NAME on the model hub")
    return errors


def _show(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _with_capacity(config: Config) -> tuple[Config, tuple[str, ...]]:
    """Put the one capacity knob `d` where the method keeps it, or drop it where the method has none."""
    method, requested = config["method"], config.pop("d")
    capacity, recipe_value = method["capacity"], config["recipe"].pop("d")
    if capacity is not None:
        chosen = (requested, method["config"].get(capacity), recipe_value)
        value = next((candidate for candidate in chosen if candidate is not None), None)
        if value is None:
            raise SpecError(["d=null: the recipe names no d for this method; accepted: an integer of at least 1"])
        method["config"][capacity] = value
        return config, ()
    if requested is None:
        return config, ()
    return config, (f"d={requested} does not apply to method={method['name']}: it has no such capacity",)
