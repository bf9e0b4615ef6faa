"""The Python examples of the documents of the library run as they stand."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

import gpart
from tests.gpart.small_models import randomise

ROOT = Path(gpart.__file__).resolve().parent.parent
DOCUMENTS = ("docs/PYPI.md", "docs/GPART.md")
WORDS = ["[PAD]", "[UNK]", *["Once", "upon", "a", "time", "there", "was", "dog", "cat", "one"]]
SIZES = {"hidden_size": 128, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def examples() -> Iterator[object]:
    for document in DOCUMENTS:
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)):
            yield pytest.param(code, id=f"{Path(document).name}-{number}")


def imported(code: str) -> set[str]:
    """The packages that a piece of code imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    return names


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `base`, `encoder` and `adapter` are, tiny."""
    folder = tmp_path_factory.mktemp("documents")
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", eos_token="[PAD]", model_max_length=32
    )
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(**SIZES, vocab_size=len(WORDS), bos_token_id=0, eos_token_id=0))
    encoder = BertModel(BertConfig(**SIZES, vocab_size=len(WORDS)))
    for name, model in {"base": base, "encoder": encoder}.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    base.name_or_path = "base"
    adapted = get_peft_model(base, gpart.GPartConfig(d=256, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    randomise(adapted)
    adapted.save_pretrained(folder / "adapter")
    return folder


@pytest.mark.parametrize("code", examples())
def test_an_example_runs(code: str, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = sorted(name for name in imported(code) if importlib.util.find_spec(name) is None)
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}")
    shutil.copytree(folders, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    base = BertForSequenceClassification(BertConfig(**SIZES, vocab_size=len(WORDS)))
    exec(code, {"base": base})
