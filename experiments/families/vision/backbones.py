"""Image classifiers of transformers and timm: pretrained weights, a new head, and the image size of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForImageClassification, PretrainedConfig, PreTrainedModel

from experiments import embedded
from experiments.data import hub
from experiments.data import weights as backbones
from experiments.errors import SpecError
from experiments.families.vision.fused import split_qkv
from experiments.families.vision.positions import TIMM, resized, side
from experiments.families.vision.transforms import ImageStatistics

Backbone = Mapping[str, Any]

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PREPROCESSOR = "preprocessor_config.json"
_INTERPOLATIONS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""timm's names in the order of Pillow's numbers."""


def meta(backbone: Backbone, classes: int) -> PreTrainedModel:
    """The model on the meta device: all shapes and names, no weights and, where the YAML gives them, no download.

    Args:
        backbone: the `backbone` section of a run's configuration.
        classes: number of classes.

    Raises:
        ValueError: if the image size or `split_qkv` does not suit the architecture.
    """
    with torch.device("meta"):
        model = AutoModelForImageClassification.from_config(_labelled(_config(backbone), classes))
        return _fitted(model, backbone)


def load(backbone: Backbone, classes: int, head_seed: int) -> PreTrainedModel:
    """The pretrained model in float32, with a new head, for images of the size of the run.

    Where that size is the native one, nothing but the head is touched. Otherwise the position embeddings are
    interpolated once, here, and the model is from then on a plain model of its size.

    Args:
        backbone: the `backbone` section of a run's configuration.
        classes: number of classes.
        head_seed: the seed of the head's initial values; the caller's random state is left as it was.

    Raises:
        ValueError: if the folder does not hold all weights as safetensors, and as `meta`.
    """
    folder = _folder(backbone)
    _raise(_weight_errors(folder))
    config = _labelled(_config(backbone), classes)
    with torch.random.fork_rng(), backbones.quiet():
        torch.manual_seed(head_seed)
        model, report = AutoModelForImageClassification.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        head = _head(config)
        lost = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])} - head
        if lost:
            raise SpecError([f"{folder}: its weights lack {', '.join(sorted(lost))} of {type(model).__name__}"])
        _initialise(model, head, head_seed)
        return _fitted(model, backbone)


def check(backbone: Backbone) -> list[str]:
    """One line for everything about a local folder that would make loading fail; reads no weights."""
    if backbone["source"] != "local":
        return []
    folder = Path(backbone["path"])
    if not folder.is_dir():
        return [f"backbone.path={folder}: no such folder; accepted: a folder with config.json and {WEIGHTS}"]
    described = (folder / "config.json").is_file() or backbone["architecture"]
    errors = (
        [] if described else [f"backbone.path={folder}: no config.json in it; accepted: one, or backbone.architecture"]
    )
    return errors + _weight_errors(folder)


def native_size(backbone: Backbone) -> int | None:
    """Height and width in pixels that the backbone was pretrained at; None if its configuration does not say."""
    config = _config(backbone)
    if config.model_type != TIMM:
        return side(getattr(config, "image_size", None))
    size = (config.model_args or {}).get("img_size")
    return side(size or _timm_settings(config).get("input_size"))


def image_size(backbone: Backbone) -> int:
    """Height and width in pixels of the images of the run.

    Raises:
        SpecError: if neither the run nor the backbone says.
    """
    size = backbone["image_size"] or native_size(backbone)
    if size is None:
        raise SpecError([f"backbone.image_size=null: {backbone['name']} has no size of its own; accepted: pixels"])
    return int(size)


def image_statistics(backbone: Backbone) -> ImageStatistics:
    """How the images were prepared in pretraining.

    Read from preprocessor_config.json for transformers, where an evaluation without a centre crop has crop_pct 1; from
    the `pretrained_cfg` of config.json for timm, or else from timm's own table.

    Raises:
        SpecError: if there is no preprocessor_config.json, for no mean can be guessed.
    """
    config = _config(backbone)
    if config.model_type == TIMM:
        settings = _timm_settings(config)
        return ImageStatistics(
            tuple(settings["mean"]), tuple(settings["std"]), settings["interpolation"], settings["crop_pct"]
        )
    file = _folder(backbone) / PREPROCESSOR
    if not file.is_file():
        raise SpecError([f"{file}: no such file; accepted: image_mean, image_std and resample of {backbone['name']}"])
    settings = json.loads(file.read_text(encoding="utf-8"))
    interpolation = _INTERPOLATIONS[settings.get("resample", _INTERPOLATIONS.index("bilinear"))]
    return ImageStatistics(
        tuple(settings["image_mean"]), tuple(settings["image_std"]), interpolation, _crop_pct(settings)
    )


def _crop_pct(settings: Mapping[str, Any]) -> float:
    if settings.get("crop_pct"):
        return float(settings["crop_pct"])
    if not settings.get("do_center_crop"):
        return 1.0
    resized, cropped = (_shorter(settings[key]) for key in ("size", "crop_size"))
    return cropped / resized


def _shorter(size: int | Mapping[str, int]) -> int:
    return size if isinstance(size, int) else min(size.values())


def _timm_settings(config: PretrainedConfig) -> Mapping[str, Any]:
    """timm's description of the weights: mean, std, interpolation, crop_pct, input_size and more."""
    import timm

    stated = getattr(config, "pretrained_cfg", None) or {}
    known = timm.get_pretrained_cfg(config.architecture)
    return {**(known.to_dict() if known else {}), **stated}


# Where things are


def _folder(backbone: Backbone) -> Path:
    """The folder of the backbone's files; of a hub's the cached one, fetched first if it is not complete."""
    if backbone["source"] == "embedded":
        return embedded.folder(backbone["name"])
    if backbone["source"] == "local":
        return Path(backbone["path"])
    return backbones.hub_folder(hub.model(backbone))


def _weight_errors(folder: Path) -> list[str]:
    accepted = f"accepted: {WEIGHTS}, or its shards with {INDEX}"
    if (folder / INDEX).is_file():
        shards = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        files = [folder / shard for shard in sorted(shards)]
    else:
        files = [folder / WEIGHTS]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        pickled = sorted(path.name for suffix in ("bin", "pth", "pt") for path in folder.glob(f"*.{suffix}"))
        why = f"; {', '.join(pickled)} can run any code when loaded and is not read" if pickled else ""
        return [f"backbone: {folder}: no {', '.join(missing)} in it{why}; {accepted}"]
    errors = []
    for file in files:
        try:
            with safe_open(file, "pt"):
                pass
        except (SafetensorError, OSError) as error:
            errors.append(f"backbone: {file} is damaged ({error}); {accepted}")
    return errors


def _config(backbone: Backbone) -> PretrainedConfig:
    local = Path(backbone["path"]) / "config.json" if backbone["source"] == "local" else None
    if local is not None and local.is_file():
        config = AutoConfig.from_pretrained(local.parent)
    elif backbone["architecture"]:
        default = {"model_type": TIMM} if backbone["library"] == "timm" else {}
        config = AutoConfig.for_model(**{**default, **backbone["architecture"]})
    elif backbone["source"] == "hub":
        config = AutoConfig.from_pretrained(backbones.hub_folder(hub.configuration(backbone)))
    else:
        config = AutoConfig.from_pretrained(_folder(backbone))
    library = "timm" if config.model_type == TIMM else "transformers"
    if library != backbone["library"]:
        raise SpecError([f"backbone.library={backbone['library']}: {backbone['name']} is of {library}"])
    return config


def _labelled(config: PretrainedConfig, classes: int) -> PretrainedConfig:
    config.num_labels = classes
    config.problem_type = "single_label_classification"
    return config


# What is changed in a model


def _head(config: PretrainedConfig) -> set[str]:
    """Names of the parameters whose shape depends on the number of classes."""
    shapes = []
    classes = config.num_labels
    with torch.device("meta"):
        for count in (classes, classes + 1):
            config.num_labels = count
            model = AutoModelForImageClassification.from_config(config)
            shapes.append({name: parameter.shape for name, parameter in model.named_parameters()})
    config.num_labels = classes
    return {name for name, shape in shapes[0].items() if shapes[1][name] != shape}


def _initialise(model: PreTrainedModel, head: set[str], seed: int) -> None:
    """Draw the head anew, even where a pretrained one would fit: normal weights, biases of zero.

    A generator of its own gives both libraries the same head for a seed.
    """
    generator = torch.Generator().manual_seed(seed)
    spread = getattr(model.config, "initializer_range", 0.02)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in sorted(head):
            if parameters[name].ndim > 1:
                parameters[name].normal_(std=spread, generator=generator)
            else:
                parameters[name].zero_()


def _fitted(model: PreTrainedModel, backbone: Backbone) -> PreTrainedModel:
    """The model at the run's image size, its fused attention split where that is asked for."""
    size = backbone["image_size"]
    if size is not None and size != native_size(backbone):
        model = resized(model, size)
    if backbone["split_qkv"]:
        split_qkv(model)
    return model


def _raise(errors: list[str]) -> None:
    if errors:
        raise SpecError(errors)
