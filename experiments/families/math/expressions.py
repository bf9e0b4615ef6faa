"""Whether two formulas are the same, decided by evaluating them: exactly where all values are rational.

There is no computer algebra on purpose: sympy's `parse_expr` calls `eval`, and its `simplify` has no time limit that
holds outside the main thread. Model output is hostile input, so it is read here character by character, and every step
is bounded. Two formulas that agree at several rational points are taken as equal (identity testing). What is not
rational is evaluated by mpmath, to more digits than a text of `MAX_LENGTH` holds: no decimal is taken for a root or pi.
"""

from __future__ import annotations

import math
import random
import re
import string
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import mpmath

from experiments.families.math.words import GREEK

MAX_LENGTH = 400
"""A longer formula is not read. The longest gold answer of MATH has 159 characters."""

_REALS = mpmath.MPContext()
_REALS.dps = MAX_LENGTH + 60
_TOLERANCE = _REALS.mpf(10) ** -(MAX_LENGTH + 20)
"""Relative, for values with a root, pi or i: it absorbs rounding, and is finer than any decimal that can be written."""

_MAX_BITS = 20_000
_MAX_DEPTH = 30
INTEGER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)|\d+)"
"""Digits, in groups of three or as in India (12,34,567) or in none."""

_NUMBER = re.compile(rf"{INTEGER}(?:\.\d*)?|\.\d+")
_SIMPLE_FRACTION = re.compile(r"\\frac(?:\{\d+\}|\d)(?:\{\d+\}|\d)")
_DIGITS = re.compile(r"\d+")

_LETTERS = string.ascii_letters + "".join(GREEK.values())

Value = Any
"""A `Fraction`, or one of mpmath's complex numbers, which have no types."""


class UnreadableError(ValueError):
    """The text is no formula of the few kinds that are read here."""


class _Reader:
    """A recursive descent over one text without blanks, evaluated at one point as it is read."""

    def __init__(self, text: str, point: Mapping[str, Fraction]) -> None:
        self.text, self.point = text, point
        self.at = self.depth = 0

    def whole(self) -> Value:
        value = self._sum()
        if self.at < len(self.text):
            raise UnreadableError(self.text)
        return value

    def _take(self, token: str) -> bool:
        found = self.text.startswith(token, self.at)
        self.at += len(token) * found
        return found

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match.group() if match else None

    def _nested(self, read: Callable[[], Value], closing: str) -> Value:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise UnreadableError(self.text)
        value = read()
        self.depth -= 1
        if not self._take(closing):
            raise UnreadableError(self.text)
        return value

    def _sum(self) -> Value:
        value = self._product()
        while self.text[self.at : self.at + 1] in ("+", "-"):
            sign = -1 if self.text[self.at] == "-" else 1
            self.at += 1
            value = value + sign * self._product()
        return value

    def _product(self) -> Value:
        value = self._signed()
        while self.at < len(self.text) and self.text[self.at] not in "+-)}]|":
            if self._take("/"):
                value = value / self._signed()
            else:
                self._take("*")
                value = value * self._signed()
        return value

    def _signed(self) -> Value:
        sign = 1
        while self.text[self.at : self.at + 1] in ("+", "-"):
            sign = -sign if self.text[self.at] == "-" else sign
            self.at += 1
        return sign * self._power()

    def _power(self) -> Value:
        base = self._atom()
        if self._take("!"):
            base = _factorial(base)
        if not self._take("^"):
            return base
        if self._take("{"):
            return _power(base, self._nested(self._sum, "}"))
        if self._take("("):
            return _power(base, self._nested(self._sum, ")"))
        sign = -1 if self._take("-") else 1
        digits = self._match(_DIGITS)
        return _power(base, sign * (Fraction(digits) if digits else self._argument()))

    def _atom(self) -> Value:
        if literal := self._match(_NUMBER):
            number = Fraction(literal.replace(",", "").rstrip("."))
            # A mixed number: 6\frac15 is 31/5, while 6\frac{x}{5} is a product.
            mixed = literal.isdigit() and _SIMPLE_FRACTION.match(self.text, self.at)
            return number + self._argument() if mixed else number
        if self._take("("):
            return self._nested(self._sum, ")")
        return self._argument()

    def _argument(self) -> Value:
        """What one LaTeX command takes: a group, a command with its own arguments, one digit or one letter."""
        if self._take("{"):
            return self._nested(self._sum, "}")
        if self._take("\\frac"):
            return self._nested(self._argument, "") / self._nested(self._argument, "")
        if self._take("\\sqrt"):
            degree = self._nested(self._sum, "]") if self._take("[") else Fraction(2)
            return _root(self._nested(self._argument, ""), degree)
        if self._take("\\binom"):
            return _binomial(self._nested(self._argument, ""), self._nested(self._argument, ""))
        if self._take("\\pi"):
            return _complex(_REALS.pi)
        character = self.text[self.at : self.at + 1]
        self.at += 1
        if character and character in string.digits:
            return Fraction(character)
        if character and character in _LETTERS:
            return _REALS.mpc(0, 1) if character == "i" else self.point[character]
        raise UnreadableError(self.text)


def _complex(value: Value) -> Value:
    # All of one type: mpmath's real numbers do not take a `Fraction` from the left.
    return _REALS.mpc(_REALS.mpmathify(value))


def _power(base: Value, exponent: Value) -> Value:
    is_exact = isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1
    if not is_exact:
        base, exponent = _complex(base), _complex(exponent)
    if base and _bits(base) * abs(exponent) > _MAX_BITS:
        raise UnreadableError(f"a power of more than {_MAX_BITS} bits")
    return base ** int(exponent) if is_exact else _complex(_REALS.power(base, exponent))


def _bits(value: Value) -> int:
    if isinstance(value, Fraction):
        return max(value.numerator.bit_length(), value.denominator.bit_length())
    return max(1, abs(_REALS.mag(value)))


def _root(radicand: Value, degree: Value) -> Value:
    value, order = _complex(radicand), _complex(degree)
    if value.imag == 0 and value.real < 0 and order.imag == 0 and order.real % 2 == 1:
        return -_power(-value, 1 / order)  # the real root, where the principal one is complex
    return _complex(_REALS.sqrt(value)) if order == 2 else _power(value, 1 / order)


def _factorial(value: Value) -> Value:
    return Fraction(math.factorial(_small(value)))


def _binomial(n: Value, k: Value) -> Value:
    return Fraction(math.comb(_small(n), _small(k)))


def _small(value: Value) -> int:
    """A natural number of which a factorial has a bounded number of bits."""
    if not isinstance(value, Fraction) or value.denominator > 1 or not 0 <= value <= 1000:
        raise UnreadableError(f"the factorial of {value}")
    return int(value)


def _points() -> list[dict[str, Fraction]]:
    # Fixed, of both signs, and no two letters alike.
    draw = random.Random(0)
    numerators = [draw.sample(range(3, 400), len(_LETTERS)) for _ in range(4)]
    return [
        {letter: Fraction(draw.choice((-1, 1)) * n, 97) for letter, n in zip(_LETTERS, drawn, strict=True)}
        for drawn in numerators
    ]


_POINTS = _points()


def number(text: str) -> Fraction | None:
    """The rational number that a text without blanks and letters stands for, such as `-1,080.50` or `6\\frac15`.

    Returns:
        None if it is anything else.
    """
    if len(text) > MAX_LENGTH or not set(_LETTERS).isdisjoint(text.replace("\\frac", "")):
        return None
    try:
        value = _Reader(text, {}).whole()
    except (UnreadableError, ArithmeticError):
        return None
    return value if isinstance(value, Fraction) else None


def identical(first: str, second: str) -> bool:
    """Whether two formulas without blanks have the same value at every point where both have one.

    Read are numbers, one-letter variables (Greek ones too; `i` is the imaginary unit), + - * / ^ !, products without a
    sign, brackets, `\\frac`, `\\sqrt`, `\\binom`, `\\pi` and mixed numbers. Variables stand for numbers of either sign:
    sqrt(x^2) is not x.

    Returns:
        False where one of them is not read, or no two points give both a value.
    """
    if max(len(first), len(second)) > MAX_LENGTH:
        return False
    compared = 0
    for point in _POINTS:
        try:
            if not _close(_Reader(first, point).whole(), _Reader(second, point).whole()):
                return False
        except UnreadableError:
            return False
        except ArithmeticError:  # a division by zero
            continue
        compared += 1
    return compared > 1


def _close(left: Value, right: Value) -> bool:
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return left == right
    return bool(_REALS.almosteq(_complex(left), _complex(right), rel_eps=_TOLERANCE, abs_eps=_TOLERANCE))
