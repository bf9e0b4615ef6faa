"""A pretrained image classifier for images of another size, its position embeddings interpolated once.

Bicubic with antialiasing, by timm's `resample_abs_pos_embed` and its defaults, for both libraries: so timm does in
`set_input_size` and when it loads a checkpoint of another size. (transformers' own `interpolate_pos_encoding` has no
antialiasing, and does it again in every forward.)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from experiments.errors import SpecError

TIMM = "timm_wrapper"
"""transformers' model type of a timm model; its modules are timm's own below `timm_model`."""


def resized(model: PreTrainedModel, size: int) -> PreTrainedModel:
    """The model for images of this size; a convolutional one, which takes any, as it is.

    The result is a plain model of that size, whose configuration says so. timm's is changed in place; of transformers'
    a second one is built.

    Args:
        model: from transformers, or from timm in transformers' wrapper; on the meta device too.
        size: height and width in pixels.

    Raises:
        SpecError: if the patches do not tile it, or something other than absolute position embeddings depends on it.
    """
    return _resized_timm(model, size) if model.config.model_type == TIMM else _resized_transformers(model, size)


def side(size: int | Sequence[int] | None) -> int | None:
    """The length of one side, of a number, (height, width) or (channels, height, width)."""
    return size if size is None or isinstance(size, int) else int(size[-1])


def _resized_timm(model: PreTrainedModel, size: int) -> PreTrainedModel:
    inner = model.timm_model
    patches = getattr(inner, "patch_embed", None)
    if patches is None:
        return model
    _check_patches(size, side(getattr(patches, "patch_size", None)))
    if not hasattr(inner, "set_input_size"):
        raise SpecError([f"backbone.image_size={size}: timm's {model.config.architecture} cannot change its size"])
    inner.set_input_size(img_size=(size, size))
    model.config.model_args = {**(model.config.model_args or {}), "img_size": size}
    return model


def _resized_transformers(model: PreTrainedModel, size: int) -> PreTrainedModel:
    config = copy.deepcopy(model.config)
    config.image_size = size
    _check_patches(size, side(getattr(config, "patch_size", None)))
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in type(model)(config).state_dict().items()}
    weights = {
        name: value if value.shape == shapes[name] else _interpolated(name, value, shapes[name], model.config, config)
        for name, value in model.state_dict().items()
    }
    new = type(model)._from_config(config, dtype=torch.float32)
    new.load_state_dict(weights)
    return new.train(model.training)


def _interpolated(
    name: str, value: Tensor, shape: torch.Size, config: PretrainedConfig, new: PretrainedConfig
) -> Tensor:
    """Position embeddings (1, prefix + grid^2, hidden) at another grid; those of class tokens and the like stay."""
    from timm.layers import resample_abs_pos_embed

    old_grid, new_grid = _grid(config), _grid(new)
    prefix = value.shape[1] - old_grid**2 if value.ndim == 3 else -1
    if prefix < 0 or shape != (1, prefix + new_grid**2, value.shape[2]):
        raise SpecError(
            [f"backbone.image_size={new.image_size}: {name} depends on it and is not a table of position embeddings"]
        )
    return resample_abs_pos_embed(
        value,
        new_size=[new_grid, new_grid],
        old_size=[old_grid, old_grid],
        num_prefix_tokens=prefix,
        interpolation="bicubic",
        antialias=True,
    )


def _grid(config: PretrainedConfig) -> int:
    """Patches along one side; 0 where there are none."""
    size, patch = side(getattr(config, "image_size", None)), side(getattr(config, "patch_size", None))
    return size // patch if size and patch else 0


def _check_patches(size: int, patch: int | None) -> None:
    if patch and size % patch:
        raise SpecError([f"backbone.image_size={size}: not a multiple of the patch size {patch}"])
