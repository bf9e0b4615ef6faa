"""What is measured: a file of conf/bench, and the part of it that one process gets."""

from __future__ import annotations

from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from experiments.configuration import groups
from experiments.errors import SpecError
from schema.validation import nearest, shown

Count = Annotated[int, Field(ge=1)]
Targets = list[str] | str
"""Names or endings of modules, or a regular expression, as PEFT's `target_modules`."""
Config = dict[str, JsonValue]
"""Of a method: its class under `_target_` and the arguments; or `pass` and `d` of a `PlainPass`."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class Architecture(_Strict):
    """Arguments of transformers' `AutoConfig.for_model`; the sizes that batches are drawn by are known here."""

    model_config = ConfigDict(extra="allow")

    model_type: str
    vocab_size: Count
    num_labels: Count = 2
    __pydantic_extra__: dict[str, JsonValue]


class PlainPass(_Strict):
    """A pass over group numbers in place of a method.

    Attributes:
        kind: what is done with them.
        d: how many different numbers there are.
    """

    kind: Literal["copy", "bincount"] = Field(alias="pass")
    d: Count


class Setting(_Strict):
    """A file of conf/bench.

    Attributes:
        architecture: of the model, whose weights are random.
        head: modules that make up the model's head.
        batch: examples of a training step; nothing trains on the device `meta`.
        length: tokens of each.
        device: the only one that it is measured on; None: the command line chooses.
        rounds: how often each contender has its turn.
        steps: in a turn.
        targets: sets of modules to adapt, by name.
        baseline: the contender whose times the ratios are over.
        contenders: configurations by name.
        authors: those that run on the authors' code.
    """

    architecture: Architecture
    head: list[str]
    batch: Count | None = None
    length: Count | None = None
    device: Literal["cpu", "cuda", "meta"] | None = None
    rounds: Count = 7
    steps: Count = 3
    targets: dict[str, Targets]
    baseline: str
    contenders: dict[str, Config]
    authors: dict[str, Config] = Field(default_factory=dict)


class Job(_Strict):
    """What the process of one contender gets.

    Attributes:
        architecture: see `Setting`.
        head: see `Setting`.
        batch: see `Setting`.
        length: see `Setting`.
        config: of the method.
        targets: the modules to adapt.
        threads: of torch.
        device: "cpu" or "cuda" to train; "meta" to attach to a model without weights.
        authors: the folder of the authors' code, where the method is theirs.
    """

    architecture: Architecture
    head: list[str]
    batch: Count | None = None
    length: Count | None = None
    config: Config
    targets: Targets
    threads: Count
    device: str
    authors: str | None = None

    @property
    def plain_pass(self) -> PlainPass | None:
        """The pass that is made in place of a method, if one is."""
        return PlainPass.model_validate(self.config) if "pass" in self.config else None


def setting_named(name: str) -> Setting:
    """The file conf/bench/`name`.yaml.

    Raises:
        SpecError: if there is none, or with a line for each key that is missing, unknown or wrong in it.
    """
    path = groups.found("bench", name)
    if path is None:
        raise SpecError([f"bench={name}: unknown; accepted: {', '.join(groups.options('bench'))}"])
    return checked(name, yaml.safe_load(path.read_text(encoding="utf-8")))


def checked(name: str, values: object) -> Setting:
    """The setting of a file's values.

    Raises:
        SpecError: with a line for each key that is missing, unknown or wrong.
    """
    try:
        setting = Setting.model_validate(values)
    except ValidationError as error:
        raise SpecError([_line(name, detail) for detail in error.errors(include_url=False)]) from None
    errors = []
    if setting.baseline not in setting.contenders:
        errors.append(f"baseline={setting.baseline}: no contender; accepted: one of {', '.join(setting.contenders)}")
    if setting.device != "meta":
        missing = [key for key in ("batch", "length") if getattr(setting, key) is None]
        errors += [f"{key}: missing; accepted: an integer of at least 1" for key in missing]
    if errors:
        raise SpecError([f"bench={name}: {line}" for line in errors])
    return setting


def _line(name: str, detail: ErrorDetails) -> str:
    key = ".".join(map(str, detail["loc"]))
    if detail["type"] == "missing":
        return f"bench={name}: {key}: missing; accepted: a value"
    if detail["type"] == "extra_forbidden":
        known = list(Setting.model_fields)
        return f"bench={name}: {key}: unknown key{nearest(key, known)}; accepted: {', '.join(known)}"
    return f"bench={name}: {key}={shown(detail['input'])}: not accepted; {detail['msg'].lower()}"
