"""A tiny ViT, pretrained by classification of generated glyphs, and the digits of scikit-learn as its task.

The digits (8x8 pixels, from the test part of the UCI set "Optical Recognition of Handwritten Digits", Kaynak 1995) are
real images that come with scikit-learn and need no network. None of them is seen in pretraining.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.embedded.cache import made_once, recipe_digest, reproducible
from experiments.embedded.descent import descent
from experiments.embedded.images import GENERATOR_VERSION, SIZE, glyphs
from experiments.embedded.language import Draw

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import ViTForImageClassification

RECIPE: dict[str, Any] = {
    "seed": 20260514,
    "threads": 1,
    "classes": 8,  # few: features that tell more glyphs apart let a linear head read most digits without fine-tuning
    "images": 12_000,
    "steps": 300,
    "batch_size": 128,
    "learning_rate": 2e-3,
    "betas": [0.9, 0.98],
    "warmup_ratio": 0.04,
    "decay_ratio": 0.3,  # warm-up, constant rate, linear decay (MiniCPM, arXiv 2404.06395, section 4)
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "architecture": {
        "image_size": SIZE,
        "patch_size": 2,
        "num_channels": 3,  # as on the hub: what loads grey images for a ViT makes them RGB
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "initializer_range": 0.12,  # about 1 / sqrt(hidden_size); the usual 0.02 suits 768
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
}
"""Everything that decides the model's weights besides the generator version; its hash names the cached folder."""

DIGITS = tuple("0123456789")
TOTAL_ROWS = 1797
TEST_ROWS_PER_CLASS = 60
"""600 of the 1,797 digits are the test split, the same number of each class; 1,197 are left to train."""


def recipe_hash() -> str:
    """The identity of the model: sha256 of the generator version and the pretraining recipe."""
    return recipe_digest(GENERATOR_VERSION, RECIPE)


def folder(cache: Path | None = None) -> Path:
    """The folder of the pretrained ViT in Hugging Face format; pretrains it where `cache` does not hold it yet.

    `cache` is by default $GPART_CACHE or else ~/.cache/gpart-suite; see `cache.made_once`. torch's global generator and
    settings stay as they were.
    """
    return made_once(f"vit-{recipe_hash()[:16]}", _pretrain, cache)


def digits(split: str) -> datasets.Dataset:
    """The digits of a split: `image` (8x8, RGB), `label` and `idx`, the number of the image in scikit-learn's set.

    The split is fixed. Raises ValueError for one that does not exist.
    """
    import datasets
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    if split not in ("train", "test"):
        raise ValueError(f"split={split!r} of vision/digits: one of train, test")
    source = load_digits()
    test = _test_rows(source.target.tolist())
    chosen = sorted(test if split == "test" else set(range(len(source.target))) - test)
    # Ink is counted from 0 to 16.
    grey = np.rint(source.images[chosen] * (255 / 16)).astype(np.uint8)
    columns = {
        "image": [Image.fromarray(image).convert("RGB") for image in grey],
        "label": source.target[chosen].tolist(),
        "idx": chosen,
    }
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=list(DIGITS)),
        "idx": datasets.Value("int32"),
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def _test_rows(labels: list[int]) -> set[int]:
    """The numbers of the images in the test split, drawn within each class."""
    rows: set[int] = set()
    for label in range(len(DIGITS)):
        draw = Draw(zlib.crc32(f"digits/test/{label}".encode()))
        of_class = [row for row, other in enumerate(labels) if other == label]
        rows.update(draw.shuffled(of_class)[:TEST_ROWS_PER_CLASS])
    return rows


def _pretrain(folder: Path) -> None:
    """Train the model by RECIPE and write it, with its image processor, into `folder`."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    images, labels = glyphs(RECIPE["seed"], RECIPE["classes"], RECIPE["images"])
    with reproducible(RECIPE["seed"], RECIPE["threads"]):
        model = ViTForImageClassification(ViTConfig(num_labels=RECIPE["classes"], **RECIPE["architecture"]))
        _train(model, torch.from_numpy(images), torch.from_numpy(labels))
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)


def _train(model: ViTForImageClassification, images: torch.Tensor, labels: torch.Tensor) -> None:
    """AdamW with warm-up, constant rate and linear decay, on images drawn anew for each step.

    Args:
        model: changed in place.
        images: grey values from 0 to 255, (images, SIZE, SIZE).
        labels: classes, (images,).
    """
    import torch
    from transformers.utils.logging import tqdm

    steps, step = RECIPE["steps"], descent(model, RECIPE)
    # As ViTImageProcessor does by default: rescaled to 0..1, then mean 0.5 and deviation 0.5.
    pixels = (images.float() / 255 - 0.5) / 0.5
    progress = tqdm(range(steps), desc="pretraining the embedded ViT (once)", unit="step")
    for _ in progress:
        rows = torch.randint(len(labels), (RECIPE["batch_size"],))
        inputs = pixels[rows].unsqueeze(1).expand(-1, RECIPE["architecture"]["num_channels"], -1, -1)
        loss = torch.nn.functional.cross_entropy(model(pixel_values=inputs).logits, labels[rows])
        step(loss)
        progress.set_postfix(loss=f"{loss.item():.2f}", refresh=False)
