"""The answer within a generated text, and whether two answers are the same, for GSM8K (`number`) and MATH (`math`).

Sources of the rules: GSM8K's marker `#### N` (Cobbe et al. 2021, arXiv 2110.14168), taken as lm-evaluation-harness
does (strict: the first one; flexible: the last number); MATH's last `\\boxed{}` and the LaTeX habits of its gold
answers (Hendrycks et al. 2021, arXiv 2103.03874); MetaMathQA's "The answer is: " (Yu et al. 2023, arXiv 2309.12284).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

from experiments.families.math import expressions

Kind = Literal["number", "math"]
Mode = Literal["strict", "lenient"]

PHRASES = ("The answer is:",)
"""What declares an answer besides the data set's own marker, where a prompt names nothing else: MetaMathQA's phrase."""

_MARKER = "####"
_USUAL_PHRASE = r"(?i:\banswer\**\s*(?:is\b\s*:?|:))"
# A minus directly after a digit, a letter or a bracket subtracts; 1,2 is two numbers and 1,200 is one.
_NUMBER = (
    r"(?:(?<![\w)\]}])-)?(?:\\?[$€£]\s?-?)?"
    r"(?:\d+\s\d+/\d+|(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\s?/\s?\d+)?|(?<![\w.])\.\d+)"
)
_OPENING = r"(?:[ \t*(]|\\[(\[]|\$(?=\\?\$|-|\\boxed)|\\boxed\{)*"
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_INLINE = re.compile(r"\$\$(.+?)\$\$|\$(?=\S)([^$]*[^$\s])\$(?!\d)|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_SENTENCE = re.compile(r".*?(?=\.?\s*$|[.;!]\s|\n)", re.DOTALL)


def extract(text: str, kind: Kind, mode: Mode, phrases: Sequence[str] = PHRASES) -> str | None:
    """The answer that a text gives, as it stands there.

    A text ends at the prompt's stop strings; cut it there first (`scoring.cut`), or a recited example may answer.

    Strict takes only what is declared:
        number: the number right after the first `####` or phrase that has one. Whatever follows a declared answer
            is a run-on, so the first counts (the GPart authors take the last).
        math: the last closed `\\boxed{}`, as 90 gold solutions of MATH's test set box steps as well; else what
            follows the first phrase.
    Lenient takes the strict answer, else by decreasing evidence:
        number: the last box with a number; the last phrase with one, of the usual ones ("answer:", "answer is") too,
            where in an equation the right side counts; the last number of the text.
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
    text = text.replace("\u2212", "-")
    if kind == "number":
        text = re.sub(r"(?<=\d)(?:\{,\}|,\\!)(?=\d)", ",", text)
    declared = _declared_number(text, phrases) if kind == "number" else _declared_formula(text, phrases)
    if declared is not None or mode == "strict":
        return declared
    candidates = list(re.finditer("|".join([_USUAL_PHRASE, *map(_literal, phrases)]), text))
    stated = [_after(match) for match in reversed(candidates)]
    return _last_number(text, stated) if kind == "number" else _last_formula(text, stated)


def gold_answer(solution: str, kind: Kind) -> str:
    """The answer of a gold solution: after `####`, or in the last box.

    Raises:
        ValueError: if there is none.
    """
    answer = extract(solution, kind, "strict")
    if answer is None:
        accepted = f"{_MARKER} and a number" if kind == "number" else "\\boxed{...}"
        raise ValueError(f"an answer without a {kind}: ...{solution[-60:]!r}; accepted: {accepted} at the end")
    return answer


def _literal(phrase: str) -> str:
    return r"\s+".join(map(re.escape, phrase.split()))


def _after(match: re.Match[str]) -> str:
    # Bounded, because a model that repeats itself may state a phrase hundreds of times.
    return match.string[match.end() : match.end() + expressions.MAX_LENGTH]


def _declared_number(text: str, phrases: Sequence[str]) -> str | None:
    openers = "|".join(map(_literal, [_MARKER, *phrases]))
    match = re.search(f"(?:{openers}){_OPENING}({_NUMBER})", text)
    return match.group(1) if match else None


def _declared_formula(text: str, phrases: Sequence[str]) -> str | None:
    for box in _boxes(text):
        return box
    openers = re.finditer("|".join(map(_literal, phrases)), text) if phrases else ()
    return next(filter(None, (_formula(_after(match)) for match in openers)), None)


def _last_number(text: str, stated: Sequence[str]) -> str | None:
    for box in _boxes(text):
        if is_number(box):
            return box
        if inside := re.findall(_NUMBER, box):
            return inside[-1]
    for sentence in map(_sentence, stated):
        for part in (sentence.rpartition("=")[2], sentence):
            if found := re.search(_NUMBER, part):
                return found.group()
    numbers = re.findall(_NUMBER, text)
    return numbers[-1] if numbers else None


def _last_formula(text: str, stated: Sequence[str]) -> str | None:
    if formula := next(filter(None, map(_formula, stated)), None):
        return formula
    last = next(reversed(list(_INLINE.finditer(text))), None)
    end = last.end() if last else 0
    numbers = re.findall(_NUMBER, text[end:])
    if numbers or last is None:
        return numbers[-1] if numbers else None
    return last.group(last.lastindex or 0).rpartition("=")[2].strip() or None


def _boxes(text: str) -> Iterator[str]:
    """What the closed boxes hold, the last one first; of nested ones the inner first."""
    open_braces: list[tuple[bool, int]] = []
    closed: dict[int, str] = {}
    for match in _BOX.finditer(text):
        token = match.group()
        if token == "}" and open_braces:
            is_box, start = open_braces.pop()
            if is_box and text[start : match.start()].strip():
                closed[start] = text[start : match.start()].strip()
        elif token.endswith("{") and token != "\\{":
            open_braces.append((token != "{", match.end()))
    return (closed[start] for start in sorted(closed, reverse=True))


def _sentence(text: str) -> str:
    match = _SENTENCE.match(text.lstrip())
    return match.group().strip() if match else ""


def _formula(text: str) -> str | None:
    """The formula that a text begins with, else its first sentence."""
    text = text.lstrip(" \t*:")
    inline = _INLINE.match(text)
    return (inline.group(inline.lastindex or 0) if inline else _sentence(text).rstrip("*")).strip() or None


_SPACES = re.compile(r"\\(?:[,;:! \n]|q?quad)|~|\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])")
_TEXT = re.compile(r"\\(text(?:bf|rm|it)?|mbox|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}(\s*\^\s*\{?\d\}?)?")
_UNIT = re.compile(
    r"(?<=[\d})\]])(?:\s+(?:[a-z]{3,}\.?\s*)+|\s*(?:ft|in|cm|mm|km|kg|gm|mph|oz|lbs?)\.?)(?:\^\{?\d\}?|[²³])?\s*$"
)
_REPLACED = (
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|°|\\degree"), ""),
    (re.compile(r"\\?[$%€£]"), ""),
    (re.compile(r"\\\{|\\lbrace(?![a-z])"), "⦃"),
    (re.compile(r"\\\}|\\rbrace(?![a-z])"), "⦄"),
    (re.compile(r"\\(?:cdot|times)(?![a-z])|\u00d7|\u00b7"), "*"),
    (re.compile(r"\\leq?(?![a-z])|≤"), "<="),
    (re.compile(r"\\geq?(?![a-z])|≥"), ">="),
    (re.compile(r",?\s*\b(?:and|or)\b"), ","),
    (re.compile(r"([ap])\.\s?m\b\.?"), r"\1m"),
    (re.compile(r"(?<![\d.])(\d+)\s+(\d+/\d+)"), r"(\1+\2)"),
    (re.compile(r"_\s*\{(\w+)\}"), r"_\1"),
    (re.compile(r"(?<![\\a-zA-Z])pi\b|\u03c0"), r"\\pi "),
    (re.compile(r"(?<![\\a-zA-Z])sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"\u221e"), r"\\infty"),
)
_SUBJECT = re.compile(r"^[a-zA-Z](?:\([a-zA-Z]\))?(?:=|\\in(?![a-z]))(?=[^=]+$)")
_MATRIX = re.compile(r"\\begin\{[pb]matrix\}(.*)\\end\{[pb]matrix\}")
_NEW_ROW = "⏎"
_OPEN, _CLOSE = "([{⦃", ")]}⦄"
_MAX_ELEMENTS = 30


def is_number(answer: str) -> bool:
    """Whether an answer is one rational number, with or without currency, percent sign and unit."""
    return expressions.number(_plain(answer)) is not None


def equal(answer: str, gold: str, kind: Kind) -> bool:
    """Whether an answer means the same as the gold answer.

    Writing does not matter: blanks, `\\left`, `\\dfrac`, dollar signs, thousands separators, trailing stops, a leading
    `x=`, mixed numbers, `\\text{}`. Units, degrees and the percent sign are dropped, not converted: 50% equals 50 and
    never 0.5, 5 feet equals 5 (the GPart authors also count 100 times and a hundredth of the gold answer).

    Rational numbers are compared exactly: 0.33 is not 1/3. Formulas: see `expressions.identical`. Intervals, tuples and
    matrices are compared element by element with their brackets; lists, sets, unions and +- without regard to order.

    Args:
        answer: as `extract` gives it.
        gold: as `gold_answer` gives it.
        kind: `number` compares numbers only.
    """
    first, second = _plain(answer), _plain(gold)
    if kind == "number":
        value = expressions.number(first)
        return value is not None and value == expressions.number(second)
    return _same(first, second)


@lru_cache(maxsize=10_000)  # a gold answer is compared more than once
def _plain(text: str) -> str:
    """The text without blanks and all that only concerns its looks."""
    text = re.sub(r"(?<=\d)(?:\s*,\s*\\!\s*|\{,\})(?=\d)", ",", text.replace("\u2212", "-"))
    text = text.replace("\\\\", _NEW_ROW)  # before `\\ ` in it is taken for a space
    text = _without_text(_SPACES.sub(" ", text))
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    text = _UNIT.sub("", text.strip().rstrip(".,;: "))
    return re.sub(r"\s+", "", text).rstrip(".,;:")


def _without_text(text: str) -> str:
    """Words beside a formula are units and go, times of day and conjunctions stay; words alone are the answer."""
    beside_formula = re.search(r"\w", _TEXT.sub("", text)) is not None

    def kept(match: re.Match[str]) -> str:
        command, words = match.group(1), match.group(2).strip()
        stays = not beside_formula or re.fullmatch(r"and|or|[ap]\.?\s?m\.?", words)
        if stays or (command in ("mathrm", "mathbf", "operatorname") and len(words) == 1):
            return f" {match.group(2)}{match.group(3) or ''} "
        return " "

    return _TEXT.sub(kept, text)


def _same(first: str, second: str) -> bool:
    first, second = (re.sub(r"^\(([A-Z])\)$", r"\1", text) for text in (first, second))
    subjects = {match.group() for text in (first, second) if (match := _SUBJECT.match(text))}
    if len(subjects) > 1:
        return False
    first, second = (_SUBJECT.sub("", text) for text in (first, second))
    words = first.isalpha() and second.isalpha() and max(len(first), len(second)) > 1
    if words or first == second:
        # Letters alone are a word: a product would make anagrams equal.
        return first.casefold() == second.casefold()
    if not first or not second or max(len(first), len(second)) > expressions.MAX_LENGTH:
        return False
    (shape, elements), (other_shape, others) = _parts(first), _parts(second)
    if shape == other_shape and elements and len(elements) == len(others) <= _MAX_ELEMENTS:
        if shape == "unordered":
            if _same_in_any_order(elements, others):
                return True
        else:
            return all(_same(one, other) for one, other in zip(elements, others, strict=True))
    # A list is also a number where commas separate thousands.
    return {shape, other_shape} <= {"", "unordered"} and expressions.identical(first, second)


def _same_in_any_order(elements: Sequence[str], others: Sequence[str]) -> bool:
    left = list(others)
    for element in elements:
        found = next((other for other in left if _same(element, other)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _parts(text: str) -> tuple[str, list[str]]:
    """The shape of a compound answer and its elements; an empty shape and none for anything else."""
    if matrix := _MATRIX.fullmatch(text):
        rows = [row.split("&") for row in matrix.group(1).split(_NEW_ROW)]
        return f"matrix of {[len(row) for row in rows]}", [cell for row in rows for cell in row]
    if len(sets := _split(text, "\\cup")) > 1:
        return "unordered", sets
    if len(elements := _split(text, ",")) > 1 or "\\pm" in text:
        signs = [[e.replace("\\pm", sign) for sign in "+-"] if e.count("\\pm") == 1 else [e] for e in elements]
        return "unordered", [element for both in signs for element in both]
    if len(sides := _split(text, "=")) > 1:
        return "equation", sides
    if text[0] in _OPEN and text[-1] in _CLOSE and len(elements := _split(text[1:-1], ",")) > 1:
        return ("unordered", elements) if text[0] == "⦃" else (text[0] + text[-1], elements)
    return "", []


def _split(text: str, separator: str) -> list[str]:
    """The pieces between separators outside all brackets."""
    pieces, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth == 0 and at >= start and text.startswith(separator, at):
            pieces.append(text[start:at])
            start = at + len(separator)
    return [*pieces, text[start:]]
