"""Small language models and small ViTs, real rows and image files for them, all made on the spot: runs of a second."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.experiments.families.vision.small_vits import save_transformers_vit

CLASSES = ("bright", "dark", "striped")


def picture(kind: str, generator: np.random.Generator) -> Image.Image:
    pixels = generator.integers(0, 60, (20, 24, 3))
    if kind == "bright":
        pixels += 180
    if kind == "striped":
        pixels[::4] += 180
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of images: 30 a class to train on, 8 to test on."""
    folder, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in {"train": 30, "test": 8}.items():
        for kind in CLASSES:
            (folder / split / kind).mkdir(parents=True)
            for number in range(count):
                picture(kind, generator).save(folder / split / kind / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small-vit")
    save_transformers_vit(folder)
    return folder


@pytest.fixture
def images(image_folder: Path, vit: Path, tmp_path: Path) -> list[str]:
    """Overrides of run.py for a run of a second on images."""
    return [
        "task=vision/folder",
        "data=local",
        f"data.path={image_folder}",
        "backbone=vit",
        "backbone.source=local",
        f"backbone.path={vit}",
        "recipe=default",
        "recipe.epochs=2",
        "recipe.d=64",
        "recipe.learning_rate=0.02",
        "logger=disabled",
        f"outputs={tmp_path / 'outputs'}",
    ]


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 2 layers of 32 with random weights and a token for each byte."""
    folder = tmp_path_factory.mktemp("small-llama")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GSM8K's columns with sums of one digit: 200 rows to train on, 20 to test on; MATH's with five."""
    folder, generator = tmp_path_factory.mktemp("sums"), random.Random(0)
    (folder / "gsm8k").mkdir()
    for split, count in {"train": 200, "test": 20}.items():
        rows = []
        for _ in range(count):
            left, right = generator.randint(0, 4), generator.randint(0, 4)
            total = left + right
            rows.append({"question": f"{left}+{right}?", "answer": f"<<{left}+{right}={total}>>{total}\n#### {total}"})
        pd.DataFrame(rows).to_json(folder / "gsm8k" / f"{split}.jsonl", orient="records", lines=True)
    (folder / "math").mkdir()
    rows = [{"problem": f"{n}?", "solution": f"It is \\boxed{{{n}}}."} for n in range(5)]
    pd.DataFrame(rows).to_json(folder / "math" / "test.jsonl", orient="records", lines=True)
    return folder


@pytest.fixture
def words(llama: Path, sums: Path, tmp_path: Path) -> list[str]:
    """Overrides of run.py for a run of a second on sums."""
    return [
        "task=math/gsm8k",
        "data=local",
        f"data.path={sums}",
        "backbone=causal",
        "backbone.source=local",
        f"backbone.path={llama}",
        "backbone.max_length=64",
        "++task.calculator_marks=drop",
        "task.max_new_tokens=12",
        "recipe=default",
        "recipe.epochs=2",
        "recipe.d=256",
        "recipe.learning_rate=0.02",
        "logger=disabled",
        f"outputs={tmp_path / 'outputs'}",
    ]
