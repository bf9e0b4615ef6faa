"""What an image classifier of transformers or timm was pretrained on, and its new head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from experiments.errors import SpecError
from experiments.families.vision import preprocessor
from experiments.families.vision.positions import TIMM, side
from experiments.families.vision.section import VisionBackbone
from experiments.families.vision.transforms import ImageStatistics


def require_library(config: PretrainedConfig, backbone: VisionBackbone) -> None:
    """Refuse a model of another library than the backbone's section says.

    Raises:
        SpecError: naming both.
    """
    library = "timm" if config.model_type == TIMM else "transformers"
    if library != backbone.library:
        raise SpecError([f"backbone.library={backbone.library}: {backbone.name} is of {library}; accepted: {library}"])


def native_size(config: PretrainedConfig) -> int | None:
    """Height and width in pixels that a model was pretrained at; None if its configuration does not say."""
    if config.model_type != TIMM:
        return side(getattr(config, "image_size", None))
    size = (config.model_args or {}).get("img_size")
    return side(size or _timm_settings(config).get("input_size"))


def image_size(backbone: VisionBackbone, config: PretrainedConfig) -> int:
    """Height and width in pixels of the images of the run.

    Raises:
        SpecError: if neither the run nor the backbone says.
    """
    size = backbone.image_size or native_size(config)
    if size is None:
        raise SpecError([f"backbone.image_size=null: {backbone.name} has no size of its own; accepted: pixels"])
    return size


def image_statistics(folder: Path, config: PretrainedConfig, key: str) -> ImageStatistics:
    """How the images were prepared in pretraining.

    Read from preprocessor_config.json for transformers; from the `pretrained_cfg` of config.json for timm, or else from
    timm's own table.

    Args:
        folder: of the weights.
        config: of the model.
        key: the setting that asks for the folder, with its value.

    Raises:
        SpecError: if preprocessor_config.json is not there or damaged.
    """
    if config.model_type != TIMM:
        return preprocessor.image_statistics(folder, key)
    settings = _timm_settings(config)
    return ImageStatistics(
        tuple(settings["mean"]), tuple(settings["std"]), settings["interpolation"], settings["crop_pct"]
    )


def draw_head(model: PreTrainedModel, names: Iterable[str], seed: int) -> None:
    """Draw a head anew, in place, even where a pretrained one would fit: normal weights, biases of zero.

    A generator of its own gives both libraries the same head for a seed.

    Args:
        model: the model.
        names: of the head's parameters.
        seed: of the generator.
    """
    generator = torch.Generator().manual_seed(seed)
    spread = getattr(model.config, "initializer_range", 0.02)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in sorted(names):
            if parameters[name].ndim > 1:
                parameters[name].normal_(std=spread, generator=generator)
            else:
                parameters[name].zero_()


def _timm_settings(config: PretrainedConfig) -> Mapping[str, Any]:
    """timm's description of the weights: mean, std, interpolation, crop_pct, input_size and more."""
    import timm

    stated = getattr(config, "pretrained_cfg", None) or {}
    known = timm.get_pretrained_cfg(config.architecture)
    return {**(known.to_dict() if known else {}), **stated}
