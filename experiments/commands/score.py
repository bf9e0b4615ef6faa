"""`python -m experiments score FILE`: any JSON lines of generations and gold answers, scored as a run's are."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from statsmodels.stats.proportion import proportion_confint

from experiments.errors import SpecError
from experiments.families.math import prompts
from experiments.families.math.answers import gold_answer, is_gold
from experiments.families.math.equality import Kind
from experiments.families.math.prompts import Prompt
from experiments.families.math.scoring import Scores, score

LEVEL = 0.95
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Pair:
    """One line of a file.

    Attributes:
        line: its number, from 1.
        generation: what a model wrote.
        gold: the gold answer.
    """

    line: int
    generation: str
    gold: str


def prompt_named(name: str) -> Prompt:
    """The template of that name, for its stop strings and answer phrases.

    Raises:
        SpecError: there is none.
    """
    try:
        return prompts.load(name)
    except ValueError as error:
        raise SpecError([f"--prompt={name}: {' '.join(str(error).split())}"]) from None


def require_new(out: Path | None) -> None:
    """Refuse a file to be written that is there, or whose folder is not.

    Raises:
        SpecError: it cannot be made.
    """
    if out is not None and (out.exists() or out.is_symlink()):
        raise SpecError([f"--out={out}: is there already; accepted: a file that is not"])
    if out is not None and not out.parent.is_dir():
        raise SpecError([f"--out={out}: no folder {out.parent}; accepted: a file in a folder that is there"])


def pairs(path: Path, kind: Kind, generation: str, gold: str) -> list[Pair]:
    """The lines of a file of JSON objects, also compressed by gzip; empty lines are passed over.

    Args:
        path: the file.
        kind: of the answers.
        generation: the key of what a model wrote.
        gold: the key of the gold answer, or of a solution that declares one.

    Raises:
        SpecError: the file cannot be read, has no lines, or one of them lacks what is asked for.
    """
    found = [
        Pair(number, _text(path, number, row, generation), _gold(path, number, row, gold, kind))
        for number, row in _objects(path)
    ]
    if not found:
        raise SpecError([f"FILE={path}: no lines; accepted: an object of {generation} and {gold} on each line"])
    return found


def _objects(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            _refuse(path, number, f"no JSON ({str(error).partition(':')[0]})", "one JSON object")
        if not isinstance(row, dict):
            _refuse(path, number, f"{line.strip()[:40]}: no object", "one JSON object")
        yield number, row


def _lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if content.startswith(_GZIP) else content).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "gzip: damaged"
        raise SpecError([f"FILE={path}: cannot be read ({reason}); accepted: a file of JSON lines"]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        _refuse(path, line, "not UTF-8", "a file in UTF-8")
    return text.split("\n")


def _text(path: Path, number: int, row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    if isinstance(value, str):
        return value
    if key not in row:
        _refuse(path, number, f"no key {key}, only {', '.join(row) or 'none'}", "a text of that key, or another key")
    _refuse(path, number, f"{key}={json.dumps(value)[:60]}", "a text")


def _gold(path: Path, number: int, row: Mapping[str, object], key: str, kind: Kind) -> str:
    text = _text(path, number, row, key)
    try:
        return gold_answer(text, kind)
    except ValueError:
        if not is_gold(text, kind):
            accepted = "a number" if kind == "number" else "a formula"
            _refuse(path, number, f"{key}={text[:60]!r}", f"{accepted}, or a solution that declares one")
        return text


def _refuse(path: Path, line: int, what: str, accepted: str) -> NoReturn:
    raise SpecError([f"FILE={path}: line {line}: {what}; accepted: {accepted}"]) from None


def scored(lines: Sequence[Pair], kind: Kind, prompt: Prompt) -> Scores:
    """The scores of the lines, in their order."""
    return score([pair.generation for pair in lines], [pair.gold for pair in lines], kind, prompt)


def summary(scores: Scores) -> str:
    """Counts and fractions, these with their interval (Wilson 1927) over the lines."""
    count = len(scores.strict)
    unanswered = sum(answer is None for answer in scores.lenient_answers)
    return "\n".join([f"lines: {count}", *_shares(scores), f"unanswered: {unanswered}"])


def _shares(scores: Scores) -> Iterator[str]:
    for name, right in (("strict", scores.strict), ("lenient", scores.lenient)):
        low, high = proportion_confint(sum(right), len(right), 1 - LEVEL, "wilson")
        yield (
            f"{name}: {sum(right) / len(right):.4f} ({sum(right)} of {len(right)} right; "
            f"{100 * LEVEL:.0f} % interval {low:.4f} to {high:.4f})"
        )


def write(out: Path, lines: Sequence[Pair], scores: Scores) -> None:
    """Write a JSON line for each line of the file: its number, both answers and whether they are right.

    Raises:
        SpecError: the file is there, or cannot be written.
    """
    rows = zip(lines, scores.strict_answers, scores.lenient_answers, scores.strict, scores.lenient, strict=True)
    names = ("line", "gold", "strict_answer", "lenient_answer", "strict", "lenient")
    verdicts = [json.dumps(dict(zip(names, (pair.line, pair.gold, *rest), strict=True))) for pair, *rest in rows]
    try:
        with out.open("x", encoding="utf-8") as file:
            file.writelines(f"{verdict}\n" for verdict in verdicts)
    except OSError as error:
        raise SpecError([f"--out={out}: cannot be written ({error.strerror}); accepted: a new file"]) from None
