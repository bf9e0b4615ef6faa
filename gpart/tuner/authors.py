"""Reads the checkpoints of the authors' code (github SamsungLabs/GPart), and says what in them cannot be honoured.

They hold the same method under other names: a vector `gpart_theta_d`, and a configuration from which the partition is
made anew, with no digest to check it against. So whether the base is the one that was fine-tuned is up to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields as fields_of
from functools import wraps
from typing import Any, TypeVar

from peft import PeftConfig
from torch import Tensor

C = TypeVar("C", bound=type)

#: What the authors call the vector.
VECTOR = "gpart_theta_d"
#: A field of every configuration of theirs, and of none of ours.
_MARK = "proj_seed"
#: Fields that say how training began or how weights are stored, which their file of weights and the base say again.
_IRRELEVANT = ("fan_in_fan_out", "init_bound")
#: Fields that PEFT has for every method, and those that both codes call the same.
_SAME = {field.name for field in fields_of(PeftConfig)} | {
    *("d", "isometric", "bias", "target_modules", "modules_to_save", "layers_to_transform", "layers_pattern")
}
#: Schemes by backend of the strategy "random". Configurations up to July 2026 name none, those up to August two others.
_BACKENDS = {
    None: "iid",
    "legacy_streaming": "iid",
    "materialized": "iid",
    "implicit_stateless_v1": "hash",
    "stateless": "hash",
}
_RENAMED = {"proj_seed", "gpart_dropout", "partition_scope", "grouping_strategy", "assignment_backend"}


def reads_authors_fields(config: C) -> C:
    """Class decorator: let a configuration be made of the fields of an authors' adapter_config.json.

    PEFT makes configurations of a file by `config(**fields)` in several places; a hook that it always calls is missing.
    """
    changed: Any = config
    init: Callable[..., None] = changed.__init__

    @wraps(init)
    def __init__(self: Any, *args: Any, **fields: Any) -> None:  # noqa: N807
        theirs = "peft_type" in fields and _MARK in fields
        init(self, *args, **(translated(fields) if theirs else fields))
        self.from_authors = theirs

    changed.__init__ = __init__
    return config


def translated(fields: Mapping[str, object]) -> dict[str, object]:
    """Our fields for those of an authors' adapter_config.json.

    Raises:
        ValueError: naming a field that cannot be honoured, its value and what would be accepted.
    """
    known = {*_SAME, *_RENAMED, *_IRRELEVANT, "projection_type"}
    for name, value in fields.items():
        if name not in known:
            raise ValueError(f"{name}: {value!r} in a checkpoint of the authors' code; accepted are those without it")
    projection = fields.get("projection_type", "partition")
    if projection != "partition":
        raise ValueError(
            f"projection_type: {projection!r} in a checkpoint of the authors' code; accepted is 'partition'"
        )
    ours = {name: fields[name] for name in _SAME if name in fields}
    scope = fields.get("partition_scope", "global")
    if scope == "global" and fields.get("layers_to_transform") is None:
        ours["layers_pattern"] = None  # which their code takes no notice of, and ours refuses
    return ours | {
        "scheme": _scheme(fields.get("grouping_strategy", "random"), fields.get("assignment_backend")),
        "scope": scope,
        "seed": _seed(fields[_MARK]),
        "dropout": fields.get("gpart_dropout", 0.0),
    }


def _scheme(strategy: object, backend: object) -> str:
    if strategy == "signed_magnitude":
        return "signed_magnitude"
    if strategy != "random":
        raise ValueError(
            f"grouping_strategy: {strategy!r} in a checkpoint of the authors' code; accepted are 'random' and "
            "'signed_magnitude'"
        )
    if backend not in _BACKENDS:
        accepted = ", ".join(repr(name) for name in _BACKENDS if name)
        raise ValueError(
            f"assignment_backend: {backend!r} in a checkpoint of the authors' code; accepted are {accepted}"
        )
    return _BACKENDS[backend]


def _seed(value: object) -> object:
    """Seeds below zero stand for the unsigned number with the same 64 bits, in both of the authors' backends."""
    return value % (1 << 64) if isinstance(value, int) and not isinstance(value, bool) else value


def renamed(state: Mapping[str, Tensor], root: str, vector: str, expected: bool) -> dict[str, Tensor]:
    """A state dict whose vector has our name, whichever code wrote it.

    Args:
        state: names and tensors.
        root: what the vector's name begins with.
        vector: our name of it.
        expected: whether the configuration was read from the authors' adapter_config.json too. Only then does the
            partition belong to the vector, which alone does not say to which it does.

    Raises:
        ValueError: if the vector is the authors' and not expected.
    """
    theirs = f"{root}{VECTOR}"
    if theirs not in state:
        return dict(state)
    if not expected:
        raise ValueError(
            f"checkpoint: its vector is named {theirs}, as the authors' code does, and does not say to which partition "
            "it belongs; accepted with the configuration from its own adapter_config.json"
        )
    return {f"{root}{vector}" if name == theirs else name: value for name, value in state.items()}
