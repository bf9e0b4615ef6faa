"""Folders of sentences with labels, and of problems with solutions, that are not as they should be."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from experiments.fuzz import rows
from experiments.fuzz.case import Case, Expected
from experiments.fuzz.rows import BYTES, WRITERS, Change, every, first, without
from experiments.fuzz.settings import SMALL

_LOCAL = (*SMALL, "data=local", "data.path=rows", "data.train_rows=null", "data.test_rows=null")
_TEXT = (*_LOCAL, "task=glue/sst2")
_MATH = (*_LOCAL, "method=lora", "task=math/gsm8k", "task.max_new_tokens=2")
_LARGE = 10**30

_LABELS: tuple[tuple[str, Change, Expected], ...] = (
    *((f"a label is {value!r}", first(label=value), "refused") for value in (None, "perhaps", 0.5, 2, -1, _LARGE)),
    *(
        (f"a label is {value!r}", first(label=value), "refused")
        for value in (float("nan"), float("inf"), [0], {"a": 0})
    ),
    *((f"all labels are {value!r}", every(label=value), "refused") for value in (None, -1, "", "x", 0.5, [0])),
    *((f"all labels are {value!r}", every(label=value), "either") for value in (0, 1, True, "0", "positive")),
)
_ROWS: tuple[tuple[str, Change, Expected], ...] = (
    ("sound rows", lambda found: found, "done"),
    ("one more column", every(more=1), "done"),
    ("no row", lambda found: [], "refused"),
    ("one row", lambda found: found[:1], "either"),
    ("rows twice", lambda found: [*found, *found], "either"),
    ("no label", without("label"), "refused"),
    ("no sentence", without("sentence"), "refused"),
    ("no idx", without("idx"), "done"),
    *((f"a sentence is {value!r}", first(sentence=value), "refused") for value in (None, ["a"], {"a": "b"})),
    *((f"a sentence is {value!r}", first(sentence=value), "either") for value in ("", 5, "\0", "x" * 100_000, '"')),
    *((f"all sentences are {value!r}", every(sentence=value), "refused") for value in (None, ["a"], {"a": "b"})),
    *((f"an idx is {value!r}", first(idx=value), "either") for value in (None, "tr-0", 1, _LARGE, [1], {"a": 1})),
    *((f"all idx are {value!r}", every(idx=value), "either") for value in (None, 1, "a", [1], 0.5)),
    *_LABELS,
)
_SOLUTIONS: tuple[tuple[str, Change, Expected], ...] = (
    ("sound rows", lambda found: found, "done"),
    ("no row", lambda found: [], "refused"),
    ("no answer", without("answer"), "refused"),
    ("no question", without("question"), "refused"),
    *((f"an answer is {value!r}", first(answer=value), "refused") for value in (None, ["a"], {"a": 1})),
    *((f"all answers are {value!r}", every(answer=value), "refused") for value in (None, "", "nothing", "####", 5)),
    *((f"all answers are {v!r}", every(answer=f"#### {v}"), "refused") for v in ("", "x", "-", "1 or 2 or", "None")),
    *((f"all answers are {v!r}", every(answer=f"#### {v}"), "either") for v in ("1/0", "1e400", "1,2,3", "٣", "3½")),
    *((f"a question is {value!r}", first(question=value), "refused") for value in (None, ["a"])),
    *((f"a question is {value!r}", first(question=value), "either") for value in ("", "{question}", "x " * 9_000)),
)


def cases(generator: random.Random) -> Iterator[Case]:
    """Cases of sentences, in the generator's order."""
    made = [
        Case("text", _TEXT, _in_format(ending, expected), f"train.{ending}: {about}", _rows(ending, change))
        for ending in WRITERS
        for about, change, expected in _ROWS
    ]
    made += [
        Case("text", _TEXT, "refused", f"train.{ending} is {about}", _bytes(ending, content))
        for ending in WRITERS
        for about, content in BYTES.items()
    ]
    made += [Case("text", _TEXT, expected, about, make) for about, make, expected in _FOLDERS]
    generator.shuffle(made)
    yield from made


def math_cases(generator: random.Random) -> Iterator[Case]:
    """Cases of problems, in the generator's order."""
    made = [
        Case("math", _MATH, expected, f"{split}.jsonl: {about}", partial(_solutions, split=split, change=change))
        for about, change, expected in _SOLUTIONS
        for split in ("train", "test")
    ]
    generator.shuffle(made)
    yield from made


def _in_format(ending: str, expected: Expected) -> Expected:
    """Of what is wrong as a value, a format of text alone may make something that is right."""
    return expected if ending in ("parquet", "jsonl") or expected == "done" else "either"


def _rows(ending: str, change: Change) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        place = _place(folder)
        WRITERS[ending](place / f"train.{ending}", change(rows.sentences(40)))
        WRITERS[ending](place / f"validation.{ending}", rows.sentences(60)[40:])

    return make


def _bytes(ending: str, content: bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        place = _place(folder)
        (place / f"train.{ending}").write_bytes(content)
        WRITERS[ending](place / f"validation.{ending}", rows.sentences(20))

    return make


def _solutions(folder: Path, split: str, change: Change) -> None:
    place = _place(folder)
    for name in ("train", "test"):
        found = rows.problems(12)
        rows.jsonl(place / f"{name}.jsonl", change(found) if name == split else found)


def _place(folder: Path) -> Path:
    (folder / "rows").mkdir()
    return folder / "rows"


def _named(*names: str, count: int = 40) -> Callable[[Path], None]:
    """Files of sentences under these names."""

    def make(folder: Path) -> None:
        place = _place(folder)
        for name in names:
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            WRITERS[name.partition(".")[2]](path, rows.sentences(count))

    return make


def _broken_zip(folder: Path) -> None:
    _named("train.csv.gz", "validation.csv.gz")(folder)
    (folder / "rows/train.csv.gz").write_bytes((folder / "rows/train.csv.gz").read_bytes()[:40])


def _linked(target: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        _named("validation.jsonl")(folder)
        (folder / "rows/train.jsonl").symlink_to(target)

    return make


def _pipe(folder: Path) -> None:
    _named("validation.jsonl")(folder)
    os.mkfifo(folder / "rows/train.jsonl")


def _of_columns(folder: Path) -> None:
    _named("validation.jsonl")(folder)
    (folder / "rows/train.json").write_text('{"sentence": ["a", "b"], "label": [0, 1]}', encoding="utf-8")


def _in_encoding(encoding: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        _named("train.csv", "validation.csv")(folder)
        for path in (folder / "rows").iterdir():
            path.write_bytes(path.read_text(encoding="utf-8").replace("dog", "dög").encode(encoding))

    return make


_FOLDERS: tuple[tuple[str, Callable[[Path], object], Expected], ...] = (
    ("no folder", lambda folder: None, "refused"),
    ("an empty folder", _place, "refused"),
    ("a file for a folder", lambda folder: (folder / "rows").write_text("x", encoding="utf-8"), "refused"),
    ("a link to itself", lambda folder: (folder / "rows").symlink_to("rows"), "refused"),
    ("train alone", _named("train.jsonl"), "refused"),
    ("validation alone", _named("validation.jsonl"), "refused"),
    ("train.jsonl is a folder", lambda folder: (_place(folder) / "train.jsonl").mkdir(), "refused"),
    ("train.jsonl is a link to nothing", _linked("nowhere"), "refused"),
    ("train.jsonl is a link to a device", _linked("/dev/null"), "refused"),
    ("train.jsonl is a link to validation.jsonl", _linked("validation.jsonl"), "either"),
    ("train.jsonl is a pipe", _pipe, "refused"),
    ("a shard of two", _named("train-00000-of-00002.parquet", "validation.parquet"), "refused"),
    ("a shard and the whole", _named("train-00000-of-00001.csv", "train.csv", "validation.csv"), "refused"),
    ("two formats", _named("train.csv", "train.jsonl", "validation.csv"), "refused"),
    ("files below data", _named("data/train.jsonl", "data/validation.jsonl"), "either"),
    ("names in capitals", _named("Train.jsonl", "VALIDATION.jsonl"), "either"),
    ("a gzip cut short", _broken_zip, "refused"),
    ("JSON by column", _of_columns, "either"),
    ("UTF-8 with a byte order mark", _in_encoding("utf-8-sig"), "done"),
    ("UTF-16", _in_encoding("utf-16"), "either"),
    ("Latin-1", _in_encoding("latin-1"), "either"),
)
