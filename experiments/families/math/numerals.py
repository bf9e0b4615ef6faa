"""Numbers as they are written in a text, each read whole: where its text goes on, its beginning is no number.

The text is in the spelling of `characters.spelled`.
"""

from __future__ import annotations

import re

from experiments.families.math.expressions import INTEGER
from experiments.families.math.latex import GROUP
from experiments.families.math.words import CHANGES_VALUE, MEASURE, SCALE

_REPEATING = r"\.\d*(?:(?:\\(?:overline|bar|dot)\s*(?:\{\d+\}|\d)\d*)+|\(\d+\))"
_DECIMAL = rf"(?:{INTEGER}(?:{_REPEATING}|\.\d+(?:\.{{3}}|\s?\\[lc]?dots)?)?|(?<![\w.])\.\d+)"
_PART = rf"(?:\{{\s*-?{_DECIMAL}\s*\}}|\s*\d)"
_LATEX_FRACTION = rf"\\[dtc]?frac\s*{_PART}\s*{_PART}"
_EXPONENT = r"\s?\^\s?(?:\{\s*-?\d+\s*\}|\(-?\d+\)|-?\d+)"
_POWER = rf"(?:[eE][+-]?\d+|{_EXPONENT}|\s?(?:\\times|\\cdot|[xX*\u00d7\u00b7])\s?10{_EXPONENT})"
_UNSIGNED = (
    rf"(?:\d+ \d+/\d+|(?:\d+\s?)?{_LATEX_FRACTION}|{_DECIMAL}(?:\s?/\s?{INTEGER})?)(?:{_POWER})?(?:[ -]*{SCALE}\b)*"
)
_CURRENCY = r"\\?[$€£¥₹]"
# A minus directly after a digit, a letter or a bracket subtracts.
_SIGN = r"(?:(?<![\w)\]}])-|(?:(?<=[=:(])|(?<=[=:(] ))(?:- |[Mm]inus )|[Nn]egative )"
_NUMERAL = rf"(?:{_SIGN}?(?:{_CURRENCY}\s?-?)?{_UNSIGNED})"

_VARIABLE = r"[bijknqruvwxyzBKMTXYZ](?![A-Za-z&])"
_GREEK = r"[\u03b1-\u03bb\u03bd-\u03c9\u221e]"
_CHINESE_SCALE = r"[\u5341\u767e\u5343\u4e07\u842c\u4ebf\u5104]"  # ten to a hundred million
# 5:00 pm is 5, as GSM8K's gold answers have it.
_GOES_ON = (
    rf":(?!00 ?[ap]\.?m)\d|\s:\s?\d|\s?/\s?\d|\.\d|,\d{{3}}|'\d|_\{{?\w|\s?\^(?!\s?\{{?\s?\\circ)|‰"
    rf"|[ -]*{CHANGES_VALUE}\b|{_VARIABLE}| [kKMBT](?![A-Za-z&])|\s?(?:{_GREEK}|{_CHINESE_SCALE})"
    r"|\s?\\(?:pi|sqrt|overline|dot|binom|over|[dtc]?frac)(?![a-zA-Z])"
    r"|,? and (?:an? |\w+ )?(?:half|quarters?|thirds?|\d+/\d+)\b"
)
"""Behind a number within a text: what makes another one of it, or none."""

_OPERATOR = r"(?:\*\*|[-+*±x\u00d7\u00b7]|\\(?:times|cdot|pm|mp|div)|to|or|and|times|plus|minus|divided by|through)"
_CALCULATES = (
    rf"{_GOES_ON}|\s?{_OPERATOR}\s?{_CURRENCY}?[\d\\]|\s?(?:±|\\[pm][pm](?![a-z]))|,? ?\d++(?!-[A-Za-z])|\s?&"
    rf"| {_VARIABLE}| ?{MEASURE}\.?,? (?:and )?\d"
)
"""Behind a number that is declared as the answer: a calculation, a range, a list or a second unit as well."""

DECLARED = rf"(?>(?:(?:\+ ?|- |[Mm]inus )(?=[\d.$\\]))?{_NUMERAL})(?!{_CALCULATES})"
"""A number that is whole and alone."""

_DIGIT = re.compile(r"\d")
_DECLARED = re.compile(DECLARED)
_RUN = re.compile(
    rf"(?:±|\\[pm][pm](?![a-z]))\s?{_NUMERAL}|(?P<whole>(?>{_NUMERAL})(?!{_GOES_ON}))|(?>{_NUMERAL})(?:[:/.,'^_]?\{{?\d+\}}?)*"
    rf"|\\[a-zA-Z]+(?:\[[^\[\]]*\])?\s*(?:{GROUP})+|[\^_](?:\{{[^{{}}]*\}}|-?\w+)"
)


def declared(text: str) -> tuple[str | None, bool]:
    """The first number of a text.

    Returns:
        the number, or None where there is none that is whole and alone; and whether there is any at all.
    """
    if signed := _DECLARED.match(text):
        return signed.group(), True
    for run in _RUN.finditer(text) if _DIGIT.search(text) else ():
        if run["whole"] and (found := _DECLARED.match(text, run.start())):
            return found.group(), True
        if _DIGIT.search(run.group()):
            return None, True
    return None, False


def last(text: str) -> str | None:
    """The last whole number of a text; digits inside LaTeX's commands and exponents are none of their own."""
    return next((run["whole"] for run in reversed(list(_RUN.finditer(text))) if run["whole"]), None)
