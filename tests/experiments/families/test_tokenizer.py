"""The tokenizer of a backbone is tried before a run begins, and its ids are held against the model's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from transformers import BertConfig

from experiments.errors import SpecError
from experiments.families.tokenizer import loaded, require_known, require_token

KEY = "backbone.path=F"


@pytest.fixture
def folder(tiny_backbone: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_backbone, tmp_path / "weights"))


def change(folder: Path, name: str, changed: Callable[[dict[str, object]], object]) -> None:
    values = json.loads((folder / name).read_text())
    changed(values)
    (folder / name).write_text(json.dumps(values))


def test_a_sound_tokenizer_gives_tokens(folder: Path) -> None:
    assert loaded(folder, KEY)("w1 w2", add_special_tokens=False)["input_ids"] == [5, 6]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "tokenizer.json").write_text("{"),
        lambda folder: (folder / "tokenizer.json").write_text("[]"),
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: (folder / "tokenizer_config.json").write_text(""),
        lambda folder: change(folder, "tokenizer.json", lambda v: v["model"].update(vocab={})),
    ],
    ids=["broken", "a list", "gone", "empty configuration", "without words"],
)
def test_one_that_gives_no_tokens_is_refused_in_a_line(damage: Callable[[Path], object], folder: Path) -> None:
    damage(folder)
    with pytest.raises(
        SpecError, match=r"^backbone\.path=F: its tokenizer .*; accepted: the tokenizer that"
    ) as refusal:
        loaded(folder, KEY)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_token_that_is_needed_and_missing_is_named(folder: Path) -> None:
    require_token(loaded(folder, KEY), "pad_token", KEY)
    change(folder, "tokenizer_config.json", lambda values: values.pop("pad_token"))
    with pytest.raises(SpecError, match=r"^backbone\.path=F: its tokenizer has no pad_token; accepted: "):
        require_token(loaded(folder, KEY), "pad_token", KEY)


def test_ids_without_an_embedding_are_refused() -> None:
    examples = datasets.Dataset.from_dict({"input_ids": [[1, 2], [], [9]]})
    require_known(examples, BertConfig(vocab_size=10), KEY)
    with pytest.raises(
        SpecError, match=r"^backbone\.path=F: its tokenizer gives the id 9, .* vocab_size=9; accepted: "
    ):
        require_known(examples, BertConfig(vocab_size=9), KEY)
