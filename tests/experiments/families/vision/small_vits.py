"""Random ViTs of 2 layers of 32 for images of 32 pixels, as folders of both libraries with the same weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import save_file
from torch import Tensor
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from experiments.configuration.overrides import CONF
from experiments.configuration.spec import parse
from experiments.data.weights import weights_of
from experiments.families.vision.family import Vision
from experiments.families.vision.section import VisionBackbone, VisionTask
from schema.run import RunSpec

SIZE, PATCH, HIDDEN, LAYERS, HEADS, CLASSES = 32, 8, 32, 2, 2, 7
MEAN, STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]


@cache
def _spec() -> RunSpec[VisionTask, VisionBackbone]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = ["task=vision/cifar10", "backbone=vit", "backbone.hub=owner/vit", "method=head", "recipe=default"]
        return cast("RunSpec[VisionTask, VisionBackbone]", parse(compose("config", overrides))[0])


def vision(library: str, folder: Path | None, classes: int = CLASSES, **changes: Any) -> Vision:
    """The family of a run on a local folder.

    Args:
        library: "transformers" or "timm".
        folder: of the weights.
        classes: number of classes.
        changes: of the `backbone` section.
    """
    spec = _spec()
    head = ["classifier"] if library == "transformers" else ["timm_model.head"]
    own = {"name": "small-vit", "source": "local", "path": str(folder), "library": library, "head": head}
    backbone = VisionBackbone.model_validate(spec.backbone.model_dump() | own | changes)
    return Vision(spec.model_copy(update={"backbone": backbone}), weights_of(backbone, timeout=1), classes)


def save_transformers_vit(folder: Path) -> ViTForImageClassification:
    """Write a random ViT in transformers' format and return it."""
    config = ViTConfig(
        image_size=SIZE,
        patch_size=PATCH,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * HIDDEN,
        num_labels=CLASSES,
        layer_norm_eps=1e-6,
        hidden_dropout_prob=0.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ViTForImageClassification(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # biases and norms too: not one may be left out unnoticed
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": SIZE, "width": SIZE}, resample=3, image_mean=MEAN, image_std=STD).save_pretrained(
        folder
    )
    return model


def save_timm_vit(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write the weights of a transformers ViT as timm's model of the same shape, as timm does for the hub."""
    folder.mkdir()
    save_file(as_timm(weights), folder / "model.safetensors")
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": CLASSES,
        "model_args": {
            "img_size": SIZE,
            "patch_size": PATCH,
            "embed_dim": HIDDEN,
            "depth": LAYERS,
            "num_heads": HEADS,
        },
        "pretrained_cfg": {
            "input_size": [3, SIZE, SIZE],
            "mean": MEAN,
            "std": STD,
            "interpolation": "bicubic",
            "crop_pct": 0.9,
            "num_classes": CLASSES,
            "classifier": "head",
        },
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def as_timm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """transformers' names as timm's, query, key and value joined."""
    names = {
        "vit.embeddings.cls_token": "cls_token",
        "vit.embeddings.position_embeddings": "pos_embed",
        "vit.embeddings.patch_embeddings.projection.": "patch_embed.proj.",
        "vit.layers.": "blocks.",
        "vit.layernorm.": "norm.",
        "classifier.": "head.",
        ".layernorm_before.": ".norm1.",
        ".layernorm_after.": ".norm2.",
        ".attention.o_proj.": ".attn.proj.",
        ".attention.q_proj.": ".attn.qkv.",
    }
    renamed = {}
    for name, value in weights.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            value = torch.cat([weights[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")])
        for old, new in names.items():
            name = name.replace(old, new)
        renamed[name] = value.detach().clone().contiguous()
    return renamed
