"""The registry of methods, and the one call that applies any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peft import LoraConfig, PeftConfig, PeftModel, UniLoraConfig, VeraConfig
from peft.tuners.unilora.layer import UniLoraLayer
from torch import nn

from baselines.adapted import Adapted
from baselines.injection import ADAPTER, InjectedAdapter
from baselines.method import Method
from baselines.selection import BitFit, FullFineTuning, HeadOnly, SelectedParameters, TrainableSelection, Untrained
from gpart import GPartConfig


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


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("gpart", GPartConfig, "arXiv 2605.14841", "gpart", _gpart_dead_coordinates, _gpart_cached_bytes),
        Method("lora", LoraConfig, "Hu et al., arXiv 2106.09685", "peft"),
        Method("unilora", UniLoraConfig, "Li et al., arXiv 2506.00799", "peft", _unilora_dead_coordinates),
        Method("vera", VeraConfig, "Kopiczko et al., arXiv 2310.11454", "peft"),
        Method("full", FullFineTuning, "Devlin et al., arXiv 1810.04805, section 3.2", "baselines"),
        Method("bitfit", BitFit, "Ben Zaken et al., arXiv 2106.10199", "baselines"),
        Method("head", HeadOnly, "linear probe on the pretrained backbone", "baselines"),
        Method("untrained", Untrained, "the pretrained backbone as it is", "baselines"),
    )
}


def method_named(name: str) -> Method:
    """The registered method of this name.

    Raises:
        ValueError: naming what is registered.
    """
    if name not in METHODS:
        raise ValueError(f"method: {name!r} is unknown; registered are: {', '.join(sorted(METHODS))}")
    return METHODS[name]


def method_of(config: Any) -> Method:
    """The method that `config` configures; one of PEFT's that is not registered is described by its type.

    Raises:
        ValueError: if it is neither a PEFT configuration nor one of a registered method.
    """
    for method in METHODS.values():
        if type(config) is method.config:
            return method
    if isinstance(config, PeftConfig):
        return Method(str(config.peft_type.value).lower(), type(config), "see PEFT's documentation", "peft")
    if isinstance(config, TrainableSelection):
        return Method(type(config).__name__.lower(), type(config), "not stated", type(config).__module__)
    raise ValueError(
        f"method.config: {config!r} is not a method's configuration; accepted are a peft.PeftConfig and "
        "objects with selects(parameter_name), such as baselines.FullFineTuning"
    )


def adapt(model: nn.Module, config: Any, *, head: Sequence[str], init_seed: int) -> Adapted:
    """Make exactly the method's parameters and the head of `model` trainable, in place.

    Works on the meta device too, where it counts parameters without any memory.

    Args:
        model: a backbone whose head is already initialised; the head keeps its values.
        config: what `hydra.utils.instantiate` makes of a method's `config`; it is not changed.
        head: names of the modules that make up the head; a name stands for every module that ends in it.
        init_seed: seed of the method's random trainable initial values. The global generator is left as it was.

    Raises:
        ValueError: naming the key, its value and what would be accepted.
    """
    method = method_of(config)
    if isinstance(config, PeftConfig):
        return InjectedAdapter.inject(method, model, config, head=head, init_seed=init_seed)
    return SelectedParameters.select(method, model, config, head)
