"""Command lines of `python -m experiments` and `python -m analysis`, and records that these cannot read."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from experiments.fuzz.case import Case, Expected, Program
from experiments.records.record import RECORD

_RESULTS = Path(__file__).resolve().parents[2] / "results"
_VALUES: tuple[object, ...] = (None, "", "text", -1, 1e308, [], [1], {}, {"a": None}, True, "x" * 5000)
_READERS: tuple[tuple[Program, tuple[str, ...]], ...] = (
    ("experiments", ("status", "outputs")),
    ("experiments", ("mirror", "outputs")),
    ("analysis", ("tables", "outputs")),
    ("analysis", ("report", "outputs")),
    ("analysis", ("isometry", "outputs")),
)
_FOLDERS = ("nowhere", "file", "empty", "x" * 300, "file/below", "loop")
_OF_RUNS = ("status", "retry", "clean", "mirror", "evaluate", "rescore", "batching", "lm-eval", "reproduce")
_OF_RECORDS = ("tables", "aggregate", "variance", "plots", "isometry", "report", "all", "bench")

_EXPERIMENTS = (
    *("", "nosuch", "--nosuch", "status --nosuch", "status a b", "retry --outcome nosuch", "retry --outcome ''"),
    *("evaluate", "rescore", "batching", "lm-eval", "reproduce", "search", "bench", "chaos", "fuzz nosuch"),
    *("search nosuch", "search ''", "search minilm-l6 --methods nosuch", "search minilm-l6 --methods ''"),
    *("search minilm-l6 -- seed=-1", "search ../base", "bench nosuch", "bench ../base", "bench roberta-6 --rounds 0"),
    *("bench roberta-6 --rounds x", "bench roberta-6 --steps -1", "bench roberta-6 --threads 1.5", "fuzz --cases 0"),
    *("bench roberta-6 --device tpu", "bench roberta-6 --device cuda", "bench roberta-6 --contenders nosuch"),
    *("bench roberta-6 --contenders gpart", "bench roberta-6 --targets nosuch", "bench roberta-6 --authors nowhere"),
    *("bench roberta-6 --out file/below.json", "bench roberta-6 --out empty", "bench llama-7b-init --device cpu"),
    *("chaos empty", "chaos new --jobs 0", "chaos new --jobs 4", "chaos new --kills -1", "chaos new --seed x"),
    *("fuzz --only nosuch", "fuzz --seed x", "lm-eval empty --few-shot -1", "lm-eval empty --rows 0", "batching empty"),
    *("evaluate empty --data", "evaluate empty --nosuch x", "reproduce empty --local nowhere", "clean --yes=1 empty"),
)
_ANALYSIS = (
    *("", "nosuch", "--nosuch", "published --task nosuch", "published --format tex", "published x", "bench"),
    *("tables {} --format nosuch", "tables {} --statistic mode", "tables {} --baseline nosuch", "tables {} x"),
    *("tables {} --out file", "tables {} --out file/below", "report {} --out empty", "report {} --out file/below"),
    *("report {} --baseline nosuch", "all {} --baseline nosuch", "aggregate {} --baseline nosuch", "all {} --out file"),
    *("plots {} --kinds nosuch", "plots {} --format gif", "plots {} --out file/x", "isometry {} --out file"),
    *("variance {} --out file/x", "variance {} --nosuch", "bench {} --out new", "bench file", "bench {} --format x"),
)


def cases(generator: random.Random) -> Iterator[Case]:
    """Cases in the generator's order."""
    records = str(_RESULTS / "isometry-embedded")
    made = [_wrong("experiments", line.split()) for line in _EXPERIMENTS]
    made += [_wrong("analysis", line.format(records).split()) for line in _ANALYSIS]
    made += [_wrong("experiments", [name, folder]) for name in _OF_RUNS for folder in _FOLDERS]
    made += [_wrong("analysis", [name, folder]) for name in _OF_RECORDS for folder in _FOLDERS]
    made += [
        Case("commands", words, "refused", about, make, program, may_fail=True)
        for program, words in _READERS
        for about, make in _damaged(generator)
    ]
    generator.shuffle(made)
    yield from made


def _wrong(program: Program, words: Sequence[str]) -> Case:
    meant = tuple("" if word == "''" else word for word in words)
    expected: Expected = "either" if meant in _MAY_BE_DONE else "refused"
    return Case("commands", meant, expected, make=_places, program=program)


_MAY_BE_DONE = tuple((name, "empty") for name in ("status", "retry", "clean", "mirror"))
"""What finds nothing to do."""


def _places(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "file").write_text("a file", encoding="utf-8")
    (folder / "loop").symlink_to("loop")


def _damaged(generator: random.Random, keys: int = 8) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Records that are none, and some of their keys with a value of another kind or without one."""
    for content in (b"", b"{", b"[]", b"5", b"null", b"\xff\xfe", b'{"schema": 99}', b"[" * 10**5, b"{}", b"NaN"):
        yield f"{RECORD} is {content[:14]!r}", partial(_outputs, content=content)
    values = json.loads(_record())
    paths = [(name,) for name in values] + [(name, key) for name, part in values.items() for key in _keys(part)]
    for path in generator.sample(paths, keys):
        wrong = generator.choice(_VALUES)
        yield f"{RECORD}: {'.'.join(path)} is {str(wrong)[:9]!r}", partial(_changed, path=path, value=wrong)
        yield f"{RECORD}: no {'.'.join(path)}", partial(_changed, path=path, value=...)


def _keys(part: object) -> list[str]:
    return list(part) if isinstance(part, dict) else []


@cache
def _record() -> bytes:
    return min(_RESULTS.rglob(RECORD), key=lambda path: (path.stat().st_size, path)).read_bytes()


def _outputs(folder: Path, content: bytes) -> None:
    """A run's folder with this for its record."""
    place = folder / "outputs/embedded-glue-rte/head/0123456789ab"
    place.mkdir(parents=True)
    (place / RECORD).write_bytes(content)


def _changed(folder: Path, path: tuple[str, ...], value: Any) -> None:
    values = json.loads(_record())
    part = values if len(path) == 1 else values[path[0]]
    if value is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    _outputs(folder, json.dumps(values).encode())
