"""One spelling for characters that mean the same: digits, dashes, blanks, fractions, powers, thousands separators.

What a character stands for is looked up in the Unicode database (`unicodedata`), so that no script, width or dash is
forgotten; LaTeX's separators of thousands are those of `\\,`, `\\;`, `\\ `, `~`, `{,}` and `,\\!`.
"""

from __future__ import annotations

import re
import unicodedata

_OTHERS = {
    "\u2212": "-",
    "\u207b": "-",
    "\u02d7": "-",
    "\u2796": "-",
    "\u066b": ".",
    "\u066c": ",",
    "\u2044": "/",
    "\u2215": "/",
    "\u00f7": "/",
    "\u2236": ":",
    "\u2217": "*",
    "\u22c5": "\u00b7",
    "\u00ba": "\u00b0",
    "\u02da": "\u00b0",
    "\u2019": "'",
    "\u02bc": "'",
    "\u2026": "...",
    "\u221a": "\\sqrt",
}
_EM_DASHES = "\u2014\u2015"  # punctuation, unless a number follows at once
_CHARACTER = re.compile(r"[^\x00-\x7f]")
_RAISED = re.compile(r"[\u207a\u207b]?[\u00b2\u00b3\u00b9\u2070\u2074-\u2079]+")
_LOWERED = re.compile(r"[\u2080-\u2089]+")
_SEPARATOR = r"(?:\\[,;:! ]|~|\{,(?:\\!)?\}|\s{0,3},\s{0,3}\\!\s{0,3}|[ _'])"
_GROUPS = re.compile(rf"(?<![\d.,/^])\d{{1,3}}(?:{_SEPARATOR}\d{{3}})++(?!\d|/\d|-[a-zA-Z])")
# Not 1 100/200, a mixed number, nor 12 200-page books.
_BETWEEN = re.compile(rf"(?<=\d){_SEPARATOR}(?=\d)")
_LATEX_COMMA = re.compile(r"(?<=\d)(?:\{,(?:\\!)?\}|\s{0,3},\s{0,3}\\!\s{0,3})(?=\d)")


def spelled(text: str) -> str:
    """A text in the spelling that is read here.

    Digits of any script become ASCII ones; dashes a minus; blanks of any width one blank; invisible characters go;
    `½` becomes `1/2` and `3½` becomes `3 1/2`; `10⁶` becomes `10^{6}` and `25₆` `25_{6}`; full-width characters their
    usual forms.
    """
    if not text.isascii():
        text = _RAISED.sub(lambda match: f"^{{{_usual(match)}}}", text)
        text = _LOWERED.sub(lambda match: f"_{{{_usual(match)}}}", text)
        text = _CHARACTER.sub(_spelled, text)
    return text


def grouped(text: str) -> str:
    """A text in that spelling with commas between thousands, whatever separated them."""
    text = _GROUPS.sub(lambda match: _BETWEEN.sub(",", match.group()), text)
    return _LATEX_COMMA.sub(",", text)


def _usual(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match.group()).replace("\u2212", "-")


def _spelled(match: re.Match[str]) -> str:
    character, before, after = match.group(), match.string[: match.start()][-1:], match.string[match.end() :][:1]
    if character in _OTHERS:
        return _OTHERS[character]
    match unicodedata.category(character):
        case "Pd":
            return character if character in _EM_DASHES and not after.isdigit() else "-"
        case "Zs":
            return " "
        case "Cf":
            return ""
        case "Nd":
            return str(unicodedata.decimal(character))
    form = unicodedata.normalize("NFKC", character)
    if "\u2044" in form:
        return f"{' ' * before.isdigit()}{form.replace(chr(0x2044), '/')}"
    raised = unicodedata.decomposition(character).startswith("<su")
    return form if len(form) == 1 and form.isascii() and not raised else character
