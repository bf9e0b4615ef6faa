"""Replacing the weights of a live adapter, with no module touched.

PEFT's own `hotswap_adapter` is written for LoRA: it reads ranks and scalings of each layer, and takes any tensors whose
names are known. A vector means nothing without its partition, which is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from peft import PeftConfig, set_peft_model_state_dict
from peft.utils import load_peft_weights
from torch import Tensor, nn

from gpart.tuner.compat import AuxiliaryTrainingWrapper
from gpart.tuner.model import GPartModel
from gpart.tuner.names import dropped_by_name, plain_name, unwrapped

#: What the tuner itself looks after in a file of weights.
_OWN = "base_model.gpart_"


def hotswap_adapter(model: nn.Module, source: Tensor | str | Path, adapter_name: str = "default") -> None:
    """Give a live adapter the weights of another with the same partition, in place: all of them, or none.

    Parameters stay the same objects, so that compiled graphs and optimizers keep working.

    Args:
        model: a `PeftModel` with a GPart adapter, or what torch.compile or DistributedDataParallel make of one.
        source: a vector (d,), which leaves trained modules as they are; or the folder of a saved adapter, which trains
            the same modules (`modules_to_save`) as the live one, and replaces them too.
        adapter_name: of the adapter to overwrite.

    Raises:
        ValueError: if the adapter is merged or missing, or the source belongs to another partition or other trained
            modules, with the reason.
    """
    _, live = unwrapped(model)
    tuner = getattr(live, "base_model", None)
    if not isinstance(tuner, GPartModel) or adapter_name not in tuner.gpart_theta:
        known = ", ".join(map(repr, tuner.gpart_theta)) if isinstance(tuner, GPartModel) else "none"
        raise ValueError(f"adapter_name: {adapter_name!r} is no GPart adapter of this model; accepted are {known}")
    if any(adapter_name in layer.merged_adapters for layer in tuner.gpart_layers()):
        raise ValueError(f"adapter_name: {adapter_name!r} is merged; accepted after unmerge_adapter()")
    theta = tuner.gpart_theta[adapter_name]
    if isinstance(source, Tensor):
        _check_shape("source", source, theta)
        with torch.no_grad():
            theta.copy_(source)
        return
    weights = load_peft_weights(str(source), device=str(theta.device))
    config = PeftConfig.from_pretrained(str(source))
    tuner.know_names(adapter_name, config)
    heads = getattr(config, "modules_to_save", None) or []
    set_peft_model_state_dict(live, _in_names_of(live, weights, adapter_name, heads), adapter_name=adapter_name)


def _check_shape(name: str, given: Tensor, live: Tensor) -> None:
    if given.shape != live.shape:
        raise ValueError(f"{name}: has shape {tuple(given.shape)}; accepted is {tuple(live.shape)}")


def _in_names_of(
    model: nn.Module, weights: Mapping[str, Tensor], adapter_name: str, heads: Sequence[str]
) -> dict[str, Tensor]:
    """What was saved, by the names of the live model, after checking that it is all that the adapter trains.

    Args:
        model: the live one.
        weights: what was saved, by its names in files.
        adapter_name: of the live adapter.
        heads: the modules that the saved adapter trained. What else is saved along has to be as it is in the model.

    Raises:
        ValueError: naming what is too much, missing, or of another shape.
    """
    trained = _trained(model, adapter_name)
    found = {name: value for name, value in weights.items() if name.startswith(_OWN)}
    for name, value in weights.items():
        plain = dropped_by_name(name)
        if plain in trained:
            own_name, own = trained.pop(plain)
            _check_shape(f"source: {name}", value, own)
            found[own_name] = value
        elif name not in found and (
            any(f".{head}." in plain for head in heads) or not _is_in_base(model, plain, value)
        ):
            raise ValueError(
                f"source: holds {name}, which the live adapter does not train; accepted are adapters that train the "
                "same modules (modules_to_save)"
            )
    if trained:
        raise ValueError(
            f"source: holds no {', '.join(trained)}, which the live adapter trains; accepted are adapters that train "
            "the same modules (modules_to_save), and a vector alone"
        )
    return found


def _is_in_base(model: nn.Module, plain: str, value: Tensor) -> bool:
    """Whether the live model has this value already, as of an embedding that is saved along."""
    held = chain(model.named_parameters(), model.named_buffers())
    return any(plain_name(model, name) == plain and torch.equal(own, value.to(own)) for name, own in held)


def _trained(model: nn.Module, adapter_name: str) -> dict[str, tuple[str, Tensor]]:
    """What is trained beside the vector: by its name in files without wrappers, its name in files and its value."""
    return {
        plain_name(model, name) + f".{saved}": (f"{name}.{saved}", module.state_dict()[held])
        for name, module in model.named_modules()
        if isinstance(module, AuxiliaryTrainingWrapper)
        for saved, held in module.adapter_state_dict_load_map(adapter_name).items()
    }
