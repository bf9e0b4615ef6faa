"""A tiny real encoder and a tiny real data folder, both made on the spot, so that whole runs fit into seconds."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parent.parent.parent
WORDS = [f"w{number}" for number in range(60)]

Runner = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 2 layers of 16 with random weights and a word-level tokenizer, as a local folder."""
    folder = tmp_path_factory.mktemp("tiny-backbone")
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    columns = ["input_ids", "token_type_ids", "attention_mask"]  # BERT's
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=columns, **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with SST-2, MRPC and STS-B of the right columns: 120 training rows, 40 validation rows."""
    folder = tmp_path_factory.mktemp("tiny-glue")
    generator = random.Random(0)

    def sentence() -> str:
        return " ".join(generator.choices(WORDS, k=generator.randint(4, 9)))

    for task, columns in {
        "sst2": ["sentence"],
        "mrpc": ["sentence1", "sentence2"],
        "stsb": ["sentence1", "sentence2"],
    }.items():
        (folder / "glue" / task).mkdir(parents=True)
        for split, rows in {"train": 120, "validation": 40}.items():
            frame = pd.DataFrame({column: [sentence() for _ in range(rows)] for column in columns})
            parity = frame[columns[0]].str.split().str.len() % 2
            frame["label"] = parity * 5.0 if task == "stsb" else parity.astype("int64")
            frame["idx"] = range(1000, 1000 + rows)
            frame.to_parquet(folder / "glue" / task / f"{split}.parquet", index=False)
    return folder


@pytest.fixture
def tiny(tiny_backbone: Path, tiny_glue: Path, tmp_path: Path) -> list[str]:
    """Overrides of run.py for a run of a second on the tiny encoder and data."""
    return [
        "data=local",
        f"data.path={tiny_glue}",
        "backbone=encoder",
        "backbone.source=local",
        f"backbone.path={tiny_backbone}",
        "backbone.max_length=32",
        "recipe=default",
        "recipe.epochs=2",
        "recipe.d=64",
        "logger=disabled",
        f"outputs={tmp_path / 'outputs'}",
    ]


@pytest.fixture(scope="session")
def run_py() -> Runner:
    """Runs `python run.py ...` as a user would, and returns its exit status and what it printed."""

    def run(*arguments: str, cwd: Path = ROOT, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "run.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=600, check=False, **options)

    return run
