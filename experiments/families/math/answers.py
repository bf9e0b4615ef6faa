"""The answer within a generated text, and whether two answers are the same, for GSM8K (`number`) and MATH (`math`).

Sources of the rules: GSM8K's marker `#### N` (Cobbe et al. 2021, arXiv 2110.14168), taken as lm-evaluation-harness
does (strict: the first one; flexible: the last number); MATH's last `\\boxed{}` and the LaTeX habits of its gold
answers (Hendrycks et al. 2021, arXiv 2103.03874); MetaMathQA's "The answer is: " (Yu et al. 2023, arXiv 2309.12284).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from experiments.families.math import expressions, numerals
from experiments.families.math.characters import grouped, spelled
from experiments.families.math.equality import Kind, equal, is_number
from experiments.families.math.latex import boxes, prose

Mode = Literal["strict", "lenient"]

PHRASES = ("The answer is:",)
"""What declares an answer besides the data set's own marker, where a prompt names nothing else: MetaMathQA's phrase."""

_MARKER = r"(?<!#)####(?!#)"
_USUAL_PHRASE = r"(?i:\banswer\**\s*(?:is\b\s*:?|:))"
_OPENING = r"(?:[ \t*({]|\\[(\[]|\$(?=\\?\$|[-{]|\\[a-z])|\\boxed\b)*"
_CALCULATION = rf"{_MARKER}(?={_OPENING}(?:[-+±] ?)?(?:\\?\$ ?)?[\d.\\])"
_LISTED = re.compile(
    r"^([ \t*]*)####(?=[ \t*(]*\d+(?:\.\d+)*[ \t*]*(?:[.):]|[ ]-)[ \t*]+[^\W\d_][^\n]*\n\s*\S)", re.MULTILINE
)
_ENDS_AS_SENTENCE = re.compile(r"[^\n]*[.!][ \t*]*\n")
_INLINE = re.compile(r"\$\$(.+?)\$\$|\$(?=\S)([^$]*[^$\s])\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_BULLET = re.compile(r"\A\s*\n\s*[-*\u2022]\s+")
_SENTENCE = re.compile(r".*?(?=\.?\s*$|[.;!]\s|\n)", re.DOTALL)


def extract(text: str, kind: Kind, mode: Mode, phrases: Sequence[str] = PHRASES) -> str | None:
    """The answer that a text gives, in the spelling of `characters.spelled`.

    A number is read whole, or is none (`numerals`): 10^6 is never 10, and 3:30 never 3. A text ends at the prompt's
    stop strings; cut it there first (`scoring.cut`), or a recited example may answer.

    Strict takes only what is declared:
        number: the number right after the first `####` or phrase that has one. Whatever follows a declared answer
            is a run-on, so the first counts (the GPart authors take the last).
        math: the last closed `\\boxed{}`, as 90 gold solutions of MATH's test set box steps as well; else what
            follows the first phrase.
    Lenient takes the strict answer, else by decreasing evidence:
        number: the last box with a number; the last phrase with one, of the usual ones ("answer:", "answer is") too,
            where in an equation the right side counts; the last number of the text. Where what a box, a phrase or
            `####` states goes on so that it is no number (a clock, a ratio, a range), nothing is taken in its place.
        math: the last phrase, of the usual ones too; the last formula between dollar signs, its right side if it is
            an equation, or the last number, whichever ends later.
    Without a declaration the last candidate counts, because steps come before results.

    Args:
        text: what the model wrote after the prompt, cut at the stop strings.
        kind: `number` for GSM8K, `math` for MATH.
        mode: see above; where strict finds an answer, lenient finds the same one.
        phrases: what declares an answer, matched to the letter up to blanks, besides the marker or box of the kind.

    Returns:
        the answer, or None where there is none.
    """
    text = spelled(text)
    if kind == "number":
        text = _without_headings(prose(grouped(text)))
    declared = _declared_number(text, phrases) if kind == "number" else _declared_formula(text, phrases)
    if declared is not None or mode == "strict":
        return declared
    openers = [_USUAL_PHRASE, *map(_literal, phrases), *([_CALCULATION] if kind == "number" else [])]
    stated = [_after(match) for match in reversed(list(re.finditer("|".join(openers), text)))]
    return _last_number(text, stated) if kind == "number" else _last_formula(text, stated)


def gold_answer(solution: str, kind: Kind) -> str:
    """The answer of a gold solution: after `####`, or in the last box.

    Raises:
        ValueError: if there is none.
    """
    answer = extract(solution, kind, "strict")
    if answer is None:
        accepted = "#### and a number" if kind == "number" else "\\boxed{...}"
        raise ValueError(f"an answer without a {kind}: ...{solution[-60:]!r}; accepted: {accepted} at the end")
    return answer


def is_gold(answer: object, kind: Kind) -> bool:
    """Whether something can be a gold answer: a text that equals itself, as no text does that is not read."""
    return isinstance(answer, str) and bool(answer.strip()) and equal(answer, answer, kind)


def _literal(phrase: str) -> str:
    return r"\s+".join(map(re.escape, phrase.split()))


def _after(match: re.Match[str]) -> str:
    # Bounded, because a model that repeats itself may state a phrase hundreds of times.
    return match.string[match.end() : match.end() + expressions.MAX_LENGTH]


def _without_headings(text: str) -> str:
    """The text without the marks of numbered headings (`#### 1. Cost`), which are Markdown and declare nothing.

    One alone that ends as a sentence does is an answer and what the model wrote on.
    """
    listed = list(_LISTED.finditer(text))
    if len(listed) == 1 and _ENDS_AS_SENTENCE.match(text, listed[0].end()):
        return text
    return _LISTED.sub(r"\1", text)


def _declared_number(text: str, phrases: Sequence[str]) -> str | None:
    openers = "|".join([_MARKER, *map(_literal, phrases)])
    match = re.search(f"(?:{openers}){_OPENING}({numerals.DECLARED})", text)
    return match.group(1) if match else None


def _declared_formula(text: str, phrases: Sequence[str]) -> str | None:
    for box in boxes(text):
        return box
    openers = re.finditer("|".join(map(_literal, phrases)), text) if phrases else ()
    return next(filter(None, (_formula(_after(match)) for match in openers)), None)


def _last_number(text: str, stated: Sequence[str]) -> str | None:
    held = list(boxes(text))
    if held and is_number(held[0]):
        return held[0]
    for statement in [*held, *map(_sentence, stated)]:
        found = [numerals.declared(part) for part in (statement.rpartition("=")[2], statement)]
        if any(is_there for _, is_there in found):
            return next((number for number, _ in found if number), None)
    return numerals.last(text)


def _last_formula(text: str, stated: Sequence[str]) -> str | None:
    if formula := next(filter(None, map(_formula, stated)), None):
        return formula
    last = next(reversed(list(_INLINE.finditer(text))), None)
    number = numerals.last(grouped(text[last.end() if last else 0 :]))
    if number or last is None:
        return number
    return last.group(last.lastindex or 0).rpartition("=")[2].strip() or None


def _sentence(text: str) -> str:
    match = _SENTENCE.match(_BULLET.sub("", text).lstrip())
    return match.group().strip() if match else ""


def _formula(text: str) -> str | None:
    """The formula that a text begins with, else its first sentence."""
    text = text.lstrip(" \t*:")
    inline = _INLINE.match(text)
    return (inline.group(inline.lastindex or 0) if inline else _sentence(text).rstrip("*")).strip() or None
