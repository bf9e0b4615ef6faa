"""The run that a record describes: it may come from anywhere, so that nothing which it names is run or imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from experiments.configuration.groups import CONF
from experiments.configuration.spec import stored
from experiments.errors import SpecError
from schema.record import Record
from schema.run import RunSpec

_PACKAGES = ("peft", "gpart", "baselines")
_TARGET = "_target_"
_CODE = {_TARGET, "auto_map", "code_revision", "megatron_core", "trust_remote_code"}
"""Keys by which Hydra, transformers and PEFT (`LoraConfig.megatron_core`) are told to run code from elsewhere."""


def recorded(record: Record) -> RunSpec:
    """The run of a record of the newest identity.

    Raises:
        SpecError: as `refuse_code`.
    """
    config = record.config.model_dump(mode="json")
    refuse_code(config)
    return stored(config)


def refuse_code(config: Mapping[str, Any]) -> None:
    """Refuse a recorded configuration whose method is none of PEFT's and none of the suite's, or that names other code.

    Raises:
        SpecError: naming the key.
    """
    options = config["method"]["config"]
    target = options.get(_TARGET)
    if str(target).partition(".")[0] not in _PACKAGES and target not in _own_targets():
        raise SpecError(
            [
                f"config.method.config.{_TARGET}={target}: not a method that a record may name; accepted: a "
                f"configuration of {', '.join(_PACKAGES)}, or one of a file in conf/method"
            ]
        )
    inner = {**config, "method": {**config["method"], "config": {k: v for k, v in options.items() if k != _TARGET}}}
    if errors := [f"config.{key}: names code to be run; accepted: a record without it" for key in _code(inner)]:
        raise SpecError(errors)


def _own_targets() -> list[str]:
    files = (CONF / "method").glob("*.yaml")
    return [yaml.safe_load(file.read_text(encoding="utf-8"))["config"][_TARGET] for file in files]


def _code(value: object, prefix: str = "") -> Iterator[str]:
    """The dotted keys of what names code, however deep."""
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, item in pairs:
        if name in _CODE:
            yield f"{prefix}{name}"
        yield from _code(item, f"{prefix}{name}.")
