"""The generated word problems are right and reproducible; the language model knows their words and fits its time."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from experiments.embedded import arithmetic, causal
from experiments.embedded.arithmetic import GENERATOR_VERSION, LARGEST, LEVELS, ROWS, Problem, word_problems
from experiments.embedded.language import Draw
from tests.experiments.conftest import ROOT

GOLDEN_VERSION = 1
GOLDEN = "dced05983e1d3133"
GOLDEN_TEXT = "26c6d39b49174d25"
PRETRAINING_SECONDS = 120

EQUATION = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)")


SHORT_RECIPE = causal.RECIPE | {"documents": 3_000, "steps": 10}


@pytest.fixture(scope="module")
def short_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model by the real recipe, cut to a few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(causal, "RECIPE", SHORT_RECIPE)
        return causal.folder(tmp_path_factory.mktemp("short"))


def sha(items: object) -> str:
    return hashlib.sha256(repr(items).encode()).hexdigest()[:16]


def digest() -> str:
    """A sha256 over every row of every split."""
    return sha([sorted(row.items()) for split in ROWS for row in word_problems(split)])


def value(left: int, sign: str, right: int) -> int:
    return {"+": left + right, "-": left - right, "*": left * right}[sign]


def test_rows_and_pretraining_text_are_those_of_the_version() -> None:
    draw = Draw(0)
    assert GENERATOR_VERSION == GOLDEN_VERSION, "rows changed on purpose: write down the new digests"
    assert digest() == GOLDEN, "rows changed: raise GENERATOR_VERSION or undo the change"
    assert sha([causal.document(draw) for _ in range(1000)]) == GOLDEN_TEXT, "text changed: raise GENERATOR_VERSION"


def test_rows_are_the_same_in_another_process() -> None:
    code = (
        "import hashlib; from experiments.embedded.arithmetic import ROWS, word_problems as rows\n"
        "items = [sorted(row.items()) for split in ROWS for row in rows(split)]\n"
        "print(hashlib.sha256(repr(items).encode()).hexdigest()[:16])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.strip() == GOLDEN


@pytest.mark.parametrize("split", ROWS)
def test_columns_size_and_levels(split: str) -> None:
    rows = word_problems(split)
    assert rows.column_names == ["question", "answer", "level", "idx"]
    assert list(rows["idx"]) == list(range(ROWS[split]))
    assert Counter(rows["level"]) == dict.fromkeys(LEVELS, ROWS[split] // len(LEVELS))


def test_no_question_of_test_is_in_train_and_none_repeats() -> None:
    train, test = (list(word_problems(split)["question"]) for split in ("train", "test"))
    assert len({*train, *test}) == len(train) + len(test)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match=r"split='validation'.*test, train"):
        word_problems("validation")


@pytest.mark.parametrize("split", ROWS)
def test_every_solution_is_right(split: str) -> None:
    for row in word_problems(split):
        steps = [
            (int(left), sign, int(right), int(result)) for left, sign, right, result in EQUATION.findall(row["answer"])
        ]
        assert len(steps) == row["level"]
        assert all(value(left, sign, right) == result for left, sign, right, result in steps)
        assert all(after[0] == before[3] for before, after in pairwise(steps))
        assert all(1 <= result <= LARGEST for *_, result in steps)
        assert row["answer"].endswith(f" . #### {steps[-1][3]}")
        quantities = re.findall(r"\d+", row["question"])
        assert all(str(right) in quantities for _, _, right, _ in steps)


GAINS, LOSSES = "|".join(arithmetic.GAINS), "|".join(arithmetic.LOSSES)


def reckoned(question: str) -> int:
    """The answer, from the words of the question alone."""
    asked = re.search(r"how many (\w+) does (\w+) have now \?$", question)
    assert asked is not None
    thing, owner = asked.groups()
    held: dict[str, int] = {}
    for sentence in question.split(" . ")[:-1]:
        if found := re.fullmatch(rf"(\w+) has (\d+) {thing}", sentence):
            held[found[1]] = int(found[2])
        elif found := re.fullmatch(rf"{owner} has (\d+) \w+ with (\d+) {thing} each", sentence):
            held[owner] = int(found[1]) * int(found[2])
        elif found := re.fullmatch(rf"{owner} has (\d+) (more|fewer) {thing} than (\w+)", sentence):
            held[owner] = held[found[3]] + int(found[1]) * (1 if found[2] == "more" else -1)
        elif found := re.fullmatch(rf"(\w+) gives (\d+) {thing} to (\w+)", sentence):
            held[owner] += int(found[2]) * (1 if found[3] == owner else -1)
        elif found := re.fullmatch(rf"{owner} ({GAINS}|{LOSSES}) (\d+) {thing}", sentence):
            held[owner] += int(found[2]) * (1 if found[1] in arithmetic.GAINS else -1)
    return held[owner]


@pytest.mark.parametrize("split", ROWS)
def test_the_answer_follows_from_the_words_of_the_question(split: str) -> None:
    for row in word_problems(split):
        assert reckoned(row["question"]) == int(row["answer"].split()[-1]), row["question"]


def test_the_pretraining_text_holds_no_worked_solution() -> None:
    draw = Draw(causal.RECIPE["seed"])
    for _ in range(5_000):
        text = causal.document(draw)
        assert not ("?" in text and ("=" in text or "makes" in text or "####" in text)), text
        assert not (":" in text and "=" in text), text


def test_the_tokenizer_and_the_saved_model_fit_the_problems(short_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(short_folder)
    for split in ROWS:
        for row in word_problems(split):
            text = f"{row['question']} {row['answer']}"
            ids = tokenizer(text)["input_ids"]
            assert ids[0] == tokenizer.bos_token_id
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids, skip_special_tokens=True) == text
            assert len(ids) < causal.RECIPE["architecture"]["max_position_embeddings"]
    model = AutoModelForCausalLM.from_pretrained(short_folder)
    with torch.device("meta"):
        meta = LlamaForCausalLM(LlamaConfig(**causal.RECIPE["architecture"]))
    assert {name: p.shape for name, p in meta.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}
    assert causal.RECIPE["architecture"].items() <= model.config.to_dict().items()
    assert model.config.vocab_size == len(tokenizer)
    assert (model.config.pad_token_id, model.config.eos_token_id) == (tokenizer.pad_token_id, tokenizer.eos_token_id)


def test_a_generation_does_not_depend_on_the_padding_of_its_batch(short_folder: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(short_folder), AutoTokenizer.from_pretrained(short_folder)
    questions = list(word_problems("test")["question"][:4])
    alone = [model(**tokenizer(question, return_tensors="pt")).logits[0, -1] for question in questions]
    batch = tokenizer(questions, return_tensors="pt", padding=True)
    assert tokenizer.padding_side == "left"
    positions = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    together = model(**{k: batch[k] for k in ("input_ids", "attention_mask")}, position_ids=positions).logits[:, -1]
    assert torch.allclose(together, torch.stack(alone), atol=1e-4)


def test_pretraining_is_reproducible_and_leaves_the_caller_alone(
    short_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causal, "RECIPE", SHORT_RECIPE)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    again = causal.folder(tmp_path)
    assert (again / "model.safetensors").read_bytes() == (short_folder / "model.safetensors").read_bytes()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_the_hash_follows_recipe_and_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    before = causal.recipe_hash()
    monkeypatch.setattr(causal, "GENERATOR_VERSION", GENERATOR_VERSION + 1)
    assert causal.recipe_hash() != before
    monkeypatch.undo()
    monkeypatch.setattr(causal, "RECIPE", causal.RECIPE | {"steps": 1})
    assert causal.recipe_hash() != before


def test_a_vocabulary_other_than_the_recipes_is_refused() -> None:
    with pytest.raises(RuntimeError, match="RECIPE says 93"):
        causal._language_model(94)


def test_levels_are_steps() -> None:
    draw = Draw(0)
    for level in LEVELS:
        assert all(len(EQUATION.findall(Problem.draw(draw, level).answer)) == level for _ in range(50))


@pytest.mark.slow
def test_pretraining_fits_its_time(tmp_path: Path) -> None:
    start = time.process_time()
    causal.folder(tmp_path)
    assert time.process_time() - start <= PRETRAINING_SECONDS
