"""Data and backbones made by the suite itself: no hub, no download (DESIGN.md, "Data" and "Backbone").

Nothing here imports torch or transformers until a backbone is really asked for.
"""

from __future__ import annotations

from pathlib import Path

from experiments.embedded import pretraining
from experiments.embedded.pretraining import encoder_folder

__all__ = ["encoder_folder", "folder", "recipe_hash"]


def folder(backbone: str) -> Path:
    """The folder of an embedded backbone, by its name in conf/backbone; pretrained where it is not cached yet."""
    match backbone:
        case "embedded-vit":
            from experiments.embedded import vision

            return vision.vit_folder()
        case "embedded-causal":
            from experiments.embedded import causal

            return causal.causal_folder()
    return encoder_folder()


def recipe_hash(backbone: str) -> str:
    """The identity of an embedded backbone: the hash of all that its weights depend on."""
    match backbone:
        case "embedded-vit":
            from experiments.embedded import vision

            return vision.recipe_hash()
        case "embedded-causal":
            from experiments.embedded import causal

            return causal.recipe_hash()
    return pretraining.recipe_hash()
