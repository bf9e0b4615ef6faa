"""What the suite knows of a method beside its configuration: how to count what no parameter or buffer shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from peft import AdaLoraConfig, AdamssConfig, PeftConfig, PeftModel, UniLoraConfig
from peft.tuners.adamss.layer import AdamssLayer
from peft.tuners.unilora.layer import UniLoraLayer

from gpart import GPartConfig

ADAPTER = "default"
"""Name of the one adapter of a model."""

Measure = Callable[[PeftModel], int]
Attributes = list[tuple[object, tuple[str, ...]]]
"""Objects, and the names of attributes of each."""


def nothing(model: PeftModel) -> int:
    """The measure of a method that has none of what is measured."""
    return 0


@dataclass(frozen=True)
class Hooks:
    """Counts in an adapted model that are a method's own.

    Attributes:
        dead_coordinates: trainable values on which no weight depends.
        cached_bytes: bytes of state kept outside of parameters and buffers.
        adapted_biases: entries of biases that the method changes without training them themselves.
        learnt: the attributes that the method's own steps set; None: it is not known to have any.
    """

    dead_coordinates: Measure = nothing
    cached_bytes: Measure = nothing
    adapted_biases: Measure = nothing
    learnt: Callable[[PeftModel], Attributes] | None = None


def hooks_of(config: PeftConfig) -> Hooks:
    """The hooks of the method that `config` configures; most need none."""
    return HOOKS.get(type(config), Hooks())


def _unilora_dead_coordinates(model: PeftModel) -> int:
    """Entries of the vector that no entry of any A or B uses.

    PEFT's assignment is balanced, so there are some only where d exceeds the number of entries; the count needs no
    look at the indices, which have no values on the meta device.
    """
    layers = [module for module in model.modules() if isinstance(module, UniLoraLayer)]
    entries = sum(ids[ADAPTER].numel() for m in layers for ids in (m.unilora_indices_A, m.unilora_indices_B))
    config = model.peft_config[ADAPTER]
    return max(0, config.theta_d_length - entries)


def _gpart_dead_coordinates(model: PeftModel) -> int:
    """Entries of the vector whose group is empty."""
    return int(model.base_model.partition(ADAPTER).dead)


def _gpart_cached_bytes(model: PeftModel) -> int:
    """Bytes of the group ids that the partition keeps at present."""
    return int(model.base_model.partition(ADAPTER).cached_bytes)


def _gpart_adapted_biases(model: PeftModel) -> int:
    """Entries of the biases that take part in the partition."""
    return sum(layer.bias for layer in model.base_model.partition(ADAPTER).layers)


def _adalora_learnt(model: PeftModel) -> Attributes:
    """The sensitivities of the values and their uncertainties, and the ranks that are left."""
    allocator = ("ipt", "exp_avg_ipt", "exp_avg_unc")
    return [(model.base_model.rankallocator, allocator), (model.peft_config[ADAPTER], ("rank_pattern",))]


def _adamss_learnt(model: PeftModel) -> Attributes:
    """The importance of the subspaces and its uncertainty."""
    averages = ("exp_avg_ipt_A", "exp_avg_ipt_B", "exp_avg_unc_A", "exp_avg_unc_B")
    return [(module, averages) for module in model.modules() if isinstance(module, AdamssLayer)]


HOOKS: Mapping[type, Hooks] = {
    GPartConfig: Hooks(_gpart_dead_coordinates, _gpart_cached_bytes, _gpart_adapted_biases),
    UniLoraConfig: Hooks(_unilora_dead_coordinates),
    AdaLoraConfig: Hooks(learnt=_adalora_learnt),
    AdamssConfig: Hooks(learnt=_adamss_learnt),
}
"""By class of configuration."""
