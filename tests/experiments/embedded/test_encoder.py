"""The embedded encoder: loads like any other, made once, leaves the caller's state alone."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from experiments.embedded import pretraining
from experiments.embedded.pretraining import recipe_hash
from experiments.embedded.tasks import sentence_task


@pytest.fixture
def short_recipe(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The real recipe, cut to a few steps."""
    recipe = pretraining.RECIPE | {"documents": 10_000, "steps": 12}
    monkeypatch.setattr(pretraining, "RECIPE", recipe)
    return recipe


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.usefixtures("short_recipe")
def test_loads_through_the_auto_classes(tmp_path: Path) -> None:
    folder = pretraining.folder(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    row = sentence_task("mrpc", "validation")[0]
    batch = tokenizer(row["sentence1"], row["sentence2"], return_tensors="pt")
    ids = batch["input_ids"][0].tolist()
    assert ids[0] == tokenizer.cls_token_id
    assert ids.count(tokenizer.sep_token_id) == 3
    assert tokenizer.unk_token_id not in ids
    hidden = pretraining.RECIPE["architecture"]["hidden_size"]
    assert AutoModel.from_pretrained(folder)(**batch).last_hidden_state.shape == (1, len(ids), hidden)
    assert AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)(**batch).logits.shape == (1, 3)
    long = tokenizer(row["sentence1"] * 20, truncation=True, return_tensors="pt")
    assert torch.isfinite(AutoModel.from_pretrained(folder)(**long).last_hidden_state).all()


@pytest.mark.usefixtures("short_recipe")
def test_no_word_of_the_tasks_is_unknown(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(pretraining.folder(tmp_path))
    for task, columns in (("cola", ["sentence"]), ("sst2", ["sentence"]), ("qnli", ["question", "sentence"])):
        rows = sentence_task(task, "train")
        for column in columns:
            assert all(tokenizer.unk_token_id not in ids for ids in tokenizer(list(rows[column]))["input_ids"])


@pytest.mark.usefixtures("short_recipe")
def test_is_made_once_by_many_and_is_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    pretrain = pretraining._pretrain
    monkeypatch.setattr(pretraining, "_pretrain", lambda folder: (made.append(folder), pretrain(folder)))
    monkeypatch.setenv("GPART_CACHE", str(tmp_path / "one"))
    folders: list[Path] = []
    workers = [threading.Thread(target=lambda: folders.append(pretraining.folder())) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(made) == 1
    assert len(set(folders)) == 1
    assert weights(pretraining.folder(tmp_path / "two")) == weights(folders[0])


@pytest.mark.usefixtures("short_recipe")
def test_leaves_generators_and_threads_alone(tmp_path: Path) -> None:
    threads, state, python_state = torch.get_num_threads(), torch.get_rng_state(), random.getstate()
    pretraining.folder(tmp_path)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python_state


def test_a_failed_pretraining_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise MemoryError("out of memory")

    monkeypatch.setattr(pretraining, "_pretrain", fail)
    with pytest.raises(MemoryError):
        pretraining.folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_the_hash_follows_recipe_and_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe_hash()
    monkeypatch.setattr(pretraining, "GENERATOR_VERSION", pretraining.GENERATOR_VERSION + 1)
    assert recipe_hash() != before
    monkeypatch.undo()
    monkeypatch.setattr(pretraining, "RECIPE", pretraining.RECIPE | {"steps": 1})
    assert recipe_hash() != before
