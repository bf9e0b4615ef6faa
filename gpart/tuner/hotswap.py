"""Replacing the vector of a live adapter: d values, with no module touched."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import PeftModel, set_peft_model_state_dict
from peft.utils import load_peft_weights
from torch import Tensor

from gpart.tuner.model import GPartModel


def hotswap_adapter(model: PeftModel, source: Tensor | str | Path, adapter_name: str = "default") -> None:
    """Give a live adapter the weights of another with the same partition, in place.

    Parameters stay the same objects, so that compiled graphs and optimizers keep working.

    Args:
        model: a model with a GPart adapter.
        source: a vector (d,), or the folder of a saved adapter, whose trained modules (`modules_to_save`) replace
            the live ones too.
        adapter_name: of the adapter to overwrite.

    Raises:
        ValueError: if the adapter is merged or missing, or the source belongs to another partition, with the reason.
    """
    tuner = getattr(model, "base_model", None)
    if not isinstance(tuner, GPartModel) or adapter_name not in tuner.gpart_theta:
        known = ", ".join(map(repr, tuner.gpart_theta)) if isinstance(tuner, GPartModel) else "none"
        raise ValueError(f"adapter_name: {adapter_name!r} is no GPart adapter of this model; accepted are {known}")
    if any(
        adapter_name in layer.merged_adapters for layer in tuner.modules() if isinstance(layer, tuner.tuner_layer_cls)
    ):
        raise ValueError(f"adapter_name: {adapter_name!r} is merged; accepted after unmerge_adapter()")
    theta = tuner.gpart_theta[adapter_name]
    if isinstance(source, Tensor):
        if source.shape != theta.shape:
            raise ValueError(f"source: has shape {tuple(source.shape)}; accepted is {tuple(theta.shape)}")
        with torch.no_grad():
            theta.copy_(source)
        return
    weights = load_peft_weights(str(source), device=str(theta.device))
    set_peft_model_state_dict(model, weights, adapter_name=adapter_name)
