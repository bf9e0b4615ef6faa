"""The generated tasks: golden rows, splits, balance, and how little single words give away."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter

import datasets
import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from experiments.embedded.language import Draw, Event
from experiments.embedded.lexicon import ACTIONS, past, third
from experiments.embedded.tasks import GENERATOR_VERSION, TASKS, TRAIN_ROWS, VALIDATION_ROWS, sentence_task, similarity
from tests.experiments.conftest import ROOT

GOLDEN_VERSION = 2
GOLDEN = {
    "cola": "9453c2059d3695f3",
    "sst2": "f4df759d27b674b9",
    "mrpc": "f8d445d1d765457a",
    "qqp": "c0c40f0ce57ee528",
    "stsb": "94c0373d9d502301",
    "qnli": "037fe2b35f97fc55",
    "rte": "065b97bbba556e0c",
    "wnli": "74b82ea6c13623fe",
    "mnli": "50f7f1d6d885a08f",
}
HUB_COLUMNS = {
    "cola": ["sentence", "label", "idx"],
    "sst2": ["sentence", "label", "idx"],
    "mrpc": ["sentence1", "sentence2", "label", "idx"],
    "stsb": ["sentence1", "sentence2", "label", "idx"],
    "qnli": ["question", "sentence", "label", "idx"],
    "rte": ["sentence1", "sentence2", "label", "idx"],
    "wnli": ["sentence1", "sentence2", "label", "idx"],
    "mnli": ["premise", "hypothesis", "label", "idx"],
    "qqp": ["question1", "question2", "label", "idx"],
}


def digest(task: str) -> str:
    """A sha256 over every row of every split."""
    rows = [sorted(row.items()) for split in ("train", *TASKS[task].heldout) for row in sentence_task(task, split)]
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


@pytest.mark.parametrize("task", TASKS)
def test_rows_are_those_of_the_version(task: str) -> None:
    assert GENERATOR_VERSION == GOLDEN_VERSION, "rows changed on purpose: write down the new digests"
    assert digest(task) == GOLDEN[task], "rows changed: raise GENERATOR_VERSION or undo the change"


@pytest.mark.parametrize("task", TASKS)
def test_columns_splits_and_classes_are_the_hubs(task: str) -> None:
    train = sentence_task(task, "train")
    assert train.column_names == HUB_COLUMNS[task]
    assert len(train) == TRAIN_ROWS
    assert list(train["idx"]) == list(range(TRAIN_ROWS))
    for split in TASKS[task].heldout:
        assert len(sentence_task(task, split)) == VALIDATION_ROWS
    names = getattr(train.features["label"], "names", None)
    assert names == (list(TASKS[task].classes) if TASKS[task].classes else None)


@pytest.mark.parametrize("task", TASKS)
def test_no_heldout_sentence_is_in_train_and_no_row_repeats(task: str) -> None:
    inputs = TASKS[task].inputs
    train = sentence_task(task, "train")
    known = {sentence for name in inputs for sentence in train[name]}
    for split in TASKS[task].heldout:
        heldout = sentence_task(task, split)
        assert known.isdisjoint(sentence for name in inputs for sentence in heldout[name])
    assert len(set(zip(*(train[name] for name in inputs), strict=True))) == TRAIN_ROWS


@pytest.mark.parametrize("task", [task for task in TASKS if TASKS[task].classes])
def test_classes_are_balanced(task: str) -> None:
    counts = Counter(sentence_task(task, "train")["label"])
    assert len(counts) == len(TASKS[task].classes or ())
    # No duplicate row is kept and the language has fewer distinct equal questions than different ones:
    # qqp leans to 64 %, the others stay near even.
    assert max(counts.values()) < (2.0 if task == "qqp" else 1.15) * min(counts.values())


def joined(rows: datasets.Dataset, inputs: tuple[str, ...]) -> list[str]:
    """The input sentences of each row as one text."""
    return [" ".join(texts) for texts in zip(*(rows[name] for name in inputs), strict=True)]


@pytest.mark.parametrize("task", TASKS)
def test_single_words_give_little_away(task: str) -> None:
    """Logistic (ridge) regression on word counts stays below half-way from chance to full fine-tuning."""
    spec = TASKS[task]
    train, heldout = sentence_task(task, "train"), sentence_task(task, spec.heldout[0])
    words = CountVectorizer(token_pattern=r"\S+")
    features = words.fit_transform(
        " ".join(texts) for texts in zip(*(train[name] for name in spec.inputs), strict=True)
    )
    unseen = words.transform(" ".join(texts) for texts in zip(*(heldout[name] for name in spec.inputs), strict=True))
    labels = np.array(heldout["label"])
    if spec.classes is None:
        predicted = Ridge(alpha=10.0).fit(features, train["label"]).predict(unseen)
        assert np.corrcoef(predicted, labels)[0, 1] < 0.3
    else:
        predicted = LogisticRegression(max_iter=500).fit(features, train["label"]).predict(unseen)
        assert (predicted == labels).mean() < 1 / len(spec.classes) + 0.18


def test_similarity_is_five_for_the_same_and_zero_for_nothing_in_common() -> None:
    draw = Draw(0)
    event = Event.draw(draw)
    other = event
    for part in ("agent", "action", "patient", "place", "time", "negation"):
        other = other.altered(draw, part)
    assert similarity(event, event) == 5.0
    assert similarity(event, other) == 0.0
    # Roles exchanged, no adverbial said: action and negation are equal, 2 of 4 by weight.
    plain = Event.draw(draw, adverbial=0.0)
    assert similarity(plain, plain.swapped()) == 2.4


def test_an_altered_event_differs() -> None:
    draw = Draw(1)
    for part in ("agent", "action", "patient", "roles", "negation", "place", "time"):
        event = Event.draw(draw)
        assert event.altered(draw, part) != event
    with pytest.raises(ValueError, match="part='mood'"):
        event.altered(draw, "mood")


def test_verbs_are_inflected() -> None:
    assert [past(verb) for verb in ("help", "hire", "call on", "teach")] == ["helped", "hired", "called on", "taught"]
    assert [third(verb) for verb in ("help", "teach", "call on")] == ["helps", "teaches", "calls on"]
    assert all(past(verb) != verb and third(verb) != verb for action in ACTIONS for verb in action)


def test_draws_do_not_touch_the_global_generator() -> None:
    import random

    state = random.getstate()
    sentence_task("sst2", "validation")
    assert random.getstate() == state


@pytest.mark.parametrize(
    ("task", "split", "message"), [("sst3", "train", "task='sst3'"), ("mnli", "validation", "validation_matched")]
)
def test_unknown_names_are_refused(task: str, split: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sentence_task(task, split)


def test_importing_needs_neither_torch_nor_transformers() -> None:
    code = "import sys, experiments.embedded; assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
