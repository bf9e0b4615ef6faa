"""Whether two answers mean the same, for GSM8K (`number`) and MATH (`math`).

The writing habits that make no difference are those of MATH's gold answers (Hendrycks et al. 2021, arXiv 2103.03874).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from experiments.families.math import expressions
from experiments.families.math.characters import grouped, spelled
from experiments.families.math.latex import GROUP, plain
from experiments.families.math.words import CHANGES_VALUE, GREEK, SCALE, SCALES

Kind = Literal["number", "math"]

_TEXT = re.compile(
    r"\\(text(?:bf|rm|it|sf|tt|normal)?|mbox|mathrm|mathbf|mathit|mathsf|emph|operatorname)\s*\{([^{}]*)\}"
    r"(\s*\^\s*\{?\d\}?)?"
)
_WORDS_ALONE = ("text", "textrm", "mbox")
_STAYS = re.compile(rf"and|or|[ap]\.?\s?m\.?|{SCALE}\b.*|{CHANGES_VALUE}")
_UNIT = re.compile(
    rf"(?<=[\d}})\]])(?:\s+(?:(?!{CHANGES_VALUE}\b)[a-z]{{3,}}\.?\s*)+|\s*(?:ft|in|cm|mm|km|kg|gm|mph|oz|lbs?)\.?)"
    r"(?:\^\{?\d\}?)?\s*$"
)
_DOTTED = re.compile(r"\\dot\s*\{?(\d)\}?(?:(\d*)\\dot\s*\{?(\d)\}?)?")
_REPEATING = re.compile(r"(?<!\d)(\d{0,99})\.(\d{0,99})(?:\\(?:overline|bar)\s*(?:\{(\d{1,99})\}|(\d))|\((\d{1,99})\))")
_SCALED = re.compile(rf"(?<=[\d)}}])(?:[\s-]*{SCALE}\b)+")
_SCALE = re.compile("|".join(SCALES))
_REPLACED = (
    (re.compile(r"\\(?:[dtc]|nice|s)frac(?![a-z])"), r"\\frac"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|°|\\degree"), ""),
    (re.compile(r"\\?[$%€£¥₹¢]"), ""),
    (re.compile(r"(?<=\d)[eE]([+-]?\d+)"), r"*10^{\1}"),
    (re.compile(r"(?<=\d)\s*[xX](?=\s*10\s*\^)"), "*"),
    (re.compile(r"(\.\d+)(?:\.{3}|\s*\\[lc]?dots)"), r"\1…"),
    (re.compile(r"\\\{|\\lbrace(?![a-z])"), "⦃"),
    (re.compile(r"\\\}|\\rbrace(?![a-z])"), "⦄"),
    (re.compile(r"\\(?:cdot|times)(?![a-z])|[\u00d7\u00b7]"), "*"),
    (re.compile(r"\\leq?(?![a-z])|≤"), "<="),
    (re.compile(r"\\geq?(?![a-z])|≥"), ">="),
    (re.compile(r",?\s*\b(?:and|or)\b"), ","),
    (re.compile(r"([ap])\.\s?m\b\.?"), r"\1m"),
    (re.compile(r"(?<![\d.])(\d+)\s+(\d+/\d+)"), r"(\1+\2)"),
    (re.compile(r"_\s*\{(\w+)\}"), r"_\1"),
    (re.compile(r"(?<![\\a-zA-Z])pi\b|\u03c0"), r"\\pi "),
    (re.compile(r"(?<![a-zA-Z])\\?sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?:[Nn]egative|[Mm]inus) +(?=[\d.])"), "-"),
    (re.compile(r"\\[dt]binom"), r"\\binom"),
    (re.compile(r"\\div(?![a-z])"), "/"),
    (re.compile("\u221e"), r"\\infty "),
    (re.compile("\u00b1"), r"\\pm "),
    (re.compile("\u222a"), r"\\cup "),
    (re.compile("\u2208"), r"\\in "),
    (re.compile(r"\u2205|\\varnothing(?![a-z])"), r"\\emptyset "),
)
_GREEK = re.compile(rf"(?<![a-zA-Z])\\?(?:var)?({'|'.join(GREEK)})(?![a-zA-Z])")
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
    text = grouped(re.sub(r"\s+", " ", spelled(text))).replace(
        "\\\\", _NEW_ROW
    )  # before `\\ ` in it is taken for a space
    text = _with_periods_as_fractions(_without_text(plain(text)))
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    text = _GREEK.sub(lambda match: GREEK[match.group(1)], text)
    text = _SCALED.sub(lambda match: "".join(SCALES[word] for word in _SCALE.findall(match.group())), text)
    text = _UNIT.sub("", text.strip().rstrip(".,;: "))
    text = re.sub(r"\s+", "", text).rstrip(".,;:")
    return text[1:-1] if re.fullmatch(GROUP, text) else text


def _with_periods_as_fractions(text: str) -> str:
    r"""`0.1\overline{6}`, `0.1\dot{6}` and `0.1(6)` as the fraction that each stands for."""
    text = _DOTTED.sub(lambda match: f"\\overline{{{''.join(part or '' for part in match.groups())}}}", text)

    def fraction(match: re.Match[str]) -> str:
        whole, head, period = match[1], match[2], match[3] or match[4] or match[5]
        value = int(whole + head + period) - int((whole + head) or 0)
        return f"({value}/{'9' * len(period)}{'0' * len(head)})"

    return _REPEATING.sub(fraction, text)


def _without_text(text: str) -> str:
    """Words beside a formula are units and go; words that change a value, times of day and conjunctions stay.

    Words alone are the answer.
    """
    beside_formula = re.search(r"\w", _TEXT.sub("", text)) is not None

    def kept(match: re.Match[str]) -> str:
        command, words = match.group(1), match.group(2).strip()
        stays = not beside_formula or _STAYS.fullmatch(words)
        if stays or (command not in _WORDS_ALONE and (len(words) == 1 or re.search(r"\d", words))):
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
    signs = [[e.replace("\\pm", s) for s in "+-"] if e.count("\\pm") == 1 else [e] for e in _split(text, ",")]
    if len(elements := [element for both in signs for element in both]) > 1:
        return "unordered", elements
    for sign in ("<=", "<", ">=", ">"):
        if len(sides := _split(text, sign)) > 1:
            return sign.replace(">", "<"), sides if sign[0] == "<" else sides[::-1]
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
