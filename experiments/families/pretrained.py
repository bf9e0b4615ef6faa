"""From a folder of weights to a model of transformers, in which nothing is random that a run does not train anew."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypedDict, cast

import torch
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from baselines.adapted import within
from experiments.data.checkpoint import some
from experiments.errors import SpecError

Shapes = Mapping[str, Sequence[int]]

_POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert")
"""Models that count positions from the padding's id on, and so have fewer than their table."""


class AutoClass(Protocol):
    """What the Auto classes of transformers have in common."""

    def from_config(self, config: PretrainedConfig, **options: bool) -> PreTrainedModel:
        """A model with random weights."""

    def from_pretrained(self, folder: Path, **options: object) -> tuple[PreTrainedModel, LoadingInfo]:
        """The model of a folder, and how its tensors fit."""


class LoadingInfo(TypedDict):
    """What transformers says of a load (`output_loading_info`)."""

    missing_keys: set[str]
    unexpected_keys: set[str]
    mismatched_keys: set[tuple[str, torch.Size, torch.Size]]


@dataclass(frozen=True)
class Pretrained:
    """How weights become a model.

    Attributes:
        auto: the Auto class of transformers.
        config: the configuration; every model gets a copy, since it may be changed with the model.
        options: of the class of the model.
        place: where this model stands in that of the run: a prefix of its names, with a dot behind it.
    """

    auto: AutoClass
    config: PretrainedConfig
    options: Mapping[str, bool] = field(default_factory=dict)
    place: str = ""

    def on_meta(self) -> PreTrainedModel:
        """The model on the meta device: all names and shapes, no memory."""
        with torch.device("meta"):
            return self.auto.from_config(copy.deepcopy(self.config), **self.options)

    def load(self, folder: Path) -> tuple[PreTrainedModel, LoadingInfo]:
        """The model in float32 with the weights of a folder, and how they fit; pickles are not read."""
        options: dict[str, object] = {"use_safetensors": True, **_REPORTED, **self.options}
        return self.auto.from_pretrained(folder, config=copy.deepcopy(self.config), **options)

    def rehearse(self, shapes: Shapes) -> LoadingInfo:
        """How tensors of these names and shapes would fit: transformers' own loading, of tensors without memory."""
        tensors = {name: torch.empty(tuple(shape), device="meta") for name, shape in shapes.items()}
        load = cast("Callable[..., tuple[PreTrainedModel, LoadingInfo]]", type(self.on_meta()).from_pretrained)
        options: dict[str, object] = {"device_map": {"": "meta"}, **_REPORTED, **self.options}
        return load(None, config=copy.deepcopy(self.config), state_dict=tensors, **options)[1]

    def misfits(self, info: LoadingInfo, stored: Iterable[str], head: Sequence[str]) -> list[str]:
        """What of the weights does not fit the model outside the head, in words.

        Missing tensors are harmless where they are tied to others (of which transformers says nothing) or belong to the
        head, which trains anew. Stored tensors that the model has no place for are harmless where they belong to a head
        of another task, or to a part of the base model that this one leaves out on purpose, such as a pooler.

        Args:
            info: how the weights were loaded.
            stored: the names of all stored tensors.
            head: full names, in the model of the run, of the modules that train anew.
        """

        def outside_head(names: Iterable[str]) -> list[str]:
            return sorted(name for name in names if not within(self.place + name, head))

        parts = {
            "lack": outside_head(info["missing_keys"]),
            "have another shape for": outside_head(name for name, *_ in info["mismatched_keys"]),
            "hold, beside what the model has,": self._lost(info["unexpected_keys"], stored),
        }
        return [f"{verb} {len(names)} tensors ({some(names)})" for verb, names in parts.items() if names]

    def _lost(self, unexpected: Iterable[str], stored: Iterable[str]) -> list[str]:
        """The unexpected tensors that belong to the base model, and not to a part that is left out on purpose."""
        unexpected = sorted(unexpected)
        if not unexpected:
            return []
        with torch.device("meta"):
            base = AutoModel.from_config(self.config)
        known, parts = set(base.state_dict()), {name for name, _ in base.named_children()}
        prefix = f"{base.base_model_prefix}."
        prefixed = any(name.startswith(prefix) for name in stored)

        def is_lost(name: str) -> bool:
            inner = name.removeprefix(prefix)
            inside = inner != name or (not prefixed and name.partition(".")[0] in parts)
            return inside and inner not in known and name not in known

        return [name for name in unexpected if is_lost(name)]


_REPORTED: Mapping[str, object] = {
    "dtype": torch.float32,
    "ignore_mismatched_sizes": True,  # said in the report, like what is missing
    "output_loading_info": True,
}


def require_positions(config: PretrainedConfig, max_length: int) -> None:
    """Refuse a length of sequence that the model has no positions for.

    Raises:
        SpecError: naming key, value and the most that is accepted.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if positions and config.model_type in _POSITIONS_AFTER_PADDING:
        positions -= config.pad_token_id + 1
    if positions and max_length > positions:
        raise SpecError(
            [f"backbone.max_length={max_length}: the model has {positions} positions; accepted: that or less"]
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' report of a load, and its bar: `misfits` says what matters of it."""
    level, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()
