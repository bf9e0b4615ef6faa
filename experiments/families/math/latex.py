"""LaTeX that only concerns looks, and boxes, without or within other commands."""

from __future__ import annotations

import re
from collections.abc import Iterator

GROUP = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
"""What stands in braces, with braces in it up to the third level."""

_SIZES = "displaystyle|textstyle|scriptstyle|limits|nolimits|tiny|small|normalsize|large|Large|LARGE|huge|Huge"
_FACES = "bf|rm|it|sf|tt|bm|boldsymbol|pmb|underline|ensuremath|mathstrut"
_COLOURS = r"\\(?:text)?color(?:box)?\s*\{[^{}]*\}|\\(?:[hv]space\*?|[hv]?phantom)\s*\{[^{}]*\}"
_LOOKS = re.compile(
    rf"\\(?:[,;:! \n]|q?quad(?![a-zA-Z]))|~|\\(?:left|right|[bB]igg?[lr]?|{_SIZES}|{_FACES})(?![a-zA-Z])|{_COLOURS}"
)
_WORDS = re.compile(r"\\(?:text(?:bf|rm|it|sf|tt|normal)?|mbox|mathrm|mathbf|mathit|mathsf|emph)\s*\{([^{}]*)\}")
_BOX = re.compile(r"\\(?:boxed|f(?:rame)?box)\s*\{|\\.|[{}]", re.DOTALL)
_BRACELESS_BOX = re.compile(r"\\f?boxed(?![a-zA-Z])\s*(?!\{)((?:(?!\\[)\]]|[.;,!?](?:\s|$))[^$\n])+)")


def plain(text: str) -> str:
    """The text without sizes, faces, colours and blanks of LaTeX; what they stood around stays, groups too."""
    return _LOOKS.sub(" ", text) if "\\" in text or "~" in text else text


def prose(text: str) -> str:
    """The same with the words of `\\text{...}` and its like as plain words."""
    return _WORDS.sub(r" \1 ", plain(text)) if "\\" in text else plain(text)


def boxes(text: str) -> Iterator[str]:
    """What the closed boxes hold, the last one first; of nested ones the inner first.

    A box without braces (`\\boxed 7`) holds what follows up to the end of the formula, of the sentence or of the line.
    """
    held = _braced(text) | {match.start(1): match.group(1).strip() for match in _BRACELESS_BOX.finditer(text)}
    return (held[start] for start in sorted(held, reverse=True) if held[start])


def _braced(text: str) -> dict[int, str]:
    open_braces: list[tuple[bool, int]] = []
    closed: dict[int, str] = {}
    for match in _BOX.finditer(text):
        token = match.group()
        if token == "}" and open_braces:
            is_box, start = open_braces.pop()
            if is_box:
                closed[start] = text[start : match.start()].strip()
        elif token.endswith("{") and token != "\\{":
            open_braces.append((token != "{", match.end()))
    return closed
