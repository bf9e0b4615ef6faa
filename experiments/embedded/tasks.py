"""The generated sentence tasks, one for each GLUE task, with the hub's column names, class names and split names.

| task | shape | the label |
| --- | --- | --- |
| sst2 | single | the verdict of an opinion, under negation and concession |
| cola | single | whether the verb agrees with its subject across an attractor, and the words stand in order |
| mrpc, qqp | pair | whether two sentences (questions) mean the same |
| stsb | regression | the share of meaning that two sentences have in common, 0 to 5 |
| rte, wnli | pair | whether the first sentence entails the second |
| mnli | pair, 3 classes | entailment, neutral, contradiction |
| qnli | pair | whether the sentence answers the question |
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from experiments.embedded.language import Draw, Event, Habit, Opinion

if TYPE_CHECKING:
    import datasets

GENERATOR_VERSION = 2
"""Part of a run's identity: raise it whenever a generated row or the pretraining corpus changes."""

TRAIN_ROWS = 4000
VALIDATION_ROWS = 1000

Row = tuple[tuple[str, ...], float]


@dataclass(frozen=True)
class SentenceTask:
    """Columns and classes as on the hub (no classes: regression), the held-out splits, and the maker of a row."""

    inputs: tuple[str, ...]
    classes: tuple[str, ...] | None
    make: Callable[[Draw], Row]
    heldout: tuple[str, ...] = ("validation",)


def _sentiment(draw: Draw) -> Row:
    opinion = Opinion.draw(draw)
    return (opinion.say(draw),), float(opinion.good)


def _acceptability(draw: Draw) -> Row:
    acceptable = draw.chance(0.5)
    habit = Habit.draw(draw)
    if acceptable or draw.chance(0.8):
        return (habit.say(draw, agreeing=acceptable),), float(acceptable)
    words = habit.say(draw).split(" ")
    place = 1 + draw.below(len(words) - 3)
    words[place], words[place + 1] = words[place + 1], words[place]
    return (" ".join(words),), 0.0


def _paraphrase(draw: Draw) -> Row:
    event, same = Event.draw(draw), draw.chance(0.5)
    other = event
    if not same:
        for part in draw.shuffled(("agent", "action", "patient"))[: 1 + draw.below(2)]:
            other = other.altered(draw, part)
    return (event.say(draw), other.say(draw)), float(same)


def _same_question(draw: Draw) -> Row:
    event, same, role = Event.draw(draw), draw.chance(0.5), draw.choice(("agent", "patient"))
    if same:
        return (event.ask(draw, role), event.ask(draw, role)), 1.0
    known = "patient" if role == "agent" else "agent"
    other = event.altered(draw, draw.choice(("action", known)))
    return (event.ask(draw, role), other.ask(draw, role)), 0.0


def _entailment(draw: Draw, kind: str) -> tuple[str, str]:
    """Premise and hypothesis; kind: entailment (nothing new is said), neutral (something else is) or contradiction."""
    premise = less = Event.draw(draw, negated=0.5, adverbial=0.7)
    if not premise.negated:  # what was not done at noon may have been done at dawn: a denial keeps its adverbials
        less = replace(
            premise,
            place=premise.place if draw.chance(0.5) else None,
            time=premise.time if draw.chance(0.5) else None,
        )
    if kind == "entailment":
        hypothesis = less
    elif kind == "contradiction":
        hypothesis = less.altered(draw, "negation")
    else:
        hypothesis = less.altered(draw, draw.choice(("agent", "action", "patient", "roles")))
    return premise.say(draw), hypothesis.say(draw)


def _inference(draw: Draw, entailment: float) -> Row:
    entailed = draw.chance(0.5)
    kind = "entailment" if entailed else draw.choice(("neutral", "contradiction"))
    return _entailment(draw, kind), entailment if entailed else 1 - entailment


def _three_way_inference(draw: Draw) -> Row:
    label = draw.below(3)
    return _entailment(draw, ("entailment", "neutral", "contradiction")[label]), float(label)


def _answer(draw: Draw) -> Row:
    event, answered, role = Event.draw(draw, negated=0.0), draw.chance(0.5), draw.choice(("agent", "patient"))
    known = "patient" if role == "agent" else "agent"
    other = event if answered else event.altered(draw, draw.choice(("roles", "action", known)))
    return (event.ask(draw, role), other.say(draw)), float(not answered)


PARTS = {"agent": 1.0, "action": 1.5, "patient": 1.0, "negated": 0.5, "place": 0.5, "time": 0.5}
"""What each part of an event weighs in the similarity of two events."""


def similarity(one: Event, other: Event) -> float:
    """The weighted share of equal parts, 0 to 5 in steps of 0.2 as in STS-B; what neither event has does not count."""
    weights = {
        part: weight
        for part, weight in PARTS.items()
        if getattr(one, part) or getattr(other, part) or part == "negated"
    }
    equal = sum(weight for part, weight in weights.items() if getattr(one, part) == getattr(other, part))
    return round(25 * equal / sum(weights.values())) / 5


def _graded_similarity(draw: Draw) -> Row:
    event = other = Event.draw(draw)
    parts = ("agent", "action", "patient", "roles", "negation", "place", "time")
    for part in draw.shuffled(parts)[: draw.below(6)]:
        other = other.altered(draw, part)
    return (event.say(draw), other.say(draw)), similarity(event, other)


_ENTAILMENT = ("entailment", "not_entailment")
TASKS: dict[str, SentenceTask] = {
    "cola": SentenceTask(("sentence",), ("unacceptable", "acceptable"), _acceptability),
    "sst2": SentenceTask(("sentence",), ("negative", "positive"), _sentiment),
    "mrpc": SentenceTask(("sentence1", "sentence2"), ("not_equivalent", "equivalent"), _paraphrase),
    "qqp": SentenceTask(("question1", "question2"), ("not_duplicate", "duplicate"), _same_question),
    "stsb": SentenceTask(("sentence1", "sentence2"), None, _graded_similarity),
    "qnli": SentenceTask(("question", "sentence"), _ENTAILMENT, _answer),
    "rte": SentenceTask(("sentence1", "sentence2"), _ENTAILMENT, lambda draw: _inference(draw, 0.0)),
    "wnli": SentenceTask(("sentence1", "sentence2"), _ENTAILMENT[::-1], lambda draw: _inference(draw, 1.0)),
    "mnli": SentenceTask(
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        _three_way_inference,
        ("validation_matched", "validation_mismatched"),
    ),
}


def sentence_task(task: str, split: str) -> datasets.Dataset:
    """The rows of a split, as the hub's GLUE would give them: the inputs, `label` and `idx`.

    The rows depend on the names of task and split alone. No sentence of a held-out split occurs in train.
    Raises ValueError for a task or split that does not exist.
    """
    import datasets

    if task not in TASKS:
        raise ValueError(f"task={task!r}: one of {', '.join(TASKS)}")
    spec = TASKS[task]
    splits = ("train", *spec.heldout)
    if split not in splits:
        raise ValueError(f"split={split!r} of the generated task {task}: one of {', '.join(splits)}")
    rows = _rows(task)[split]
    label = datasets.ClassLabel(names=list(spec.classes)) if spec.classes else datasets.Value("float32")
    columns: dict[str, list[object]] = {name: [row[0][i] for row in rows] for i, name in enumerate(spec.inputs)}
    columns["label"] = [int(row[1]) if spec.classes else row[1] for row in rows]
    columns["idx"] = list(range(len(rows)))
    features = {name: datasets.Value("string") for name in spec.inputs} | {
        "label": label,
        "idx": datasets.Value("int32"),
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def _rows(task: str) -> dict[str, list[Row]]:
    """All splits of a task, the held-out ones first so that train can leave out what they hold."""
    spec, taken = TASKS[task], set[str]()
    splits: dict[str, list[Row]] = {}
    for split in (*spec.heldout, "train"):
        draw, seen = Draw(zlib.crc32(f"{task}/{split}/{GENERATOR_VERSION}".encode())), set[tuple[str, ...]]()
        rows: list[Row] = []
        while len(rows) < (TRAIN_ROWS if split == "train" else VALIDATION_ROWS):
            texts, label = spec.make(draw)
            if texts in seen or not taken.isdisjoint(texts):
                continue
            seen.add(texts)
            rows.append((texts, label))
        splits[split] = rows
        taken.update(text for texts, _ in rows for text in texts)
    return splits
