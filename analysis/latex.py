r"""Tables to LaTeX: booktabs, no wider than the line, in the characters that pdflatex has."""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.marks import BEST, SECOND
from analysis.render import marked
from analysis.tables import Heading, Table

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
}
_LAST_LATIN = "\u024f"
"""Last character that pdflatex has in its usual fonts; others, which error messages may hold, are named by number."""
_MARKS = {BEST: (r"\textbf{", "}"), SECOND: (r"\underline{", "}")}
_NO_WIDER_THAN_THE_LINE = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
_LINE = 90
"""Characters of a row that a page's line holds; a longer one has its cells on several lines each."""


def latex(tables: Sequence[Table]) -> str:
    r"""LaTeX tables; the document needs \usepackage{booktabs} and \usepackage{graphicx}."""
    return "\n".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    wide = _width(table) > _LINE
    rows = [
        " & ".join(_cell(cell, table.marks.get((r, c)), wide and c > 0) for c, cell in enumerate(row)) + r" \\"
        for r, row in enumerate(table.rows)
    ]
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(table.title)}}}",
        _NO_WIDER_THAN_THE_LINE,
        rf"\begin{{tabular}}{{l{'r' * (len(table.headings) - 1)}}}",
        r"\toprule",
        " & ".join(_heading(heading, wide) for heading in table.headings) + r" \\",
        r"\midrule",
        ("\n\\addlinespace\n" if wide else "\n").join(rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\begin{minipage}{\linewidth}",
        r"\smallskip\footnotesize\raggedright",
        *(rf"{escape(note)}\par" for note in table.notes),
        r"\end{minipage}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _width(table: Table) -> int:
    """Characters of the longest cell or heading line of every column, added up."""
    columns = [[*heading.lines, *cells] for heading, *cells in zip(table.headings, *table.rows, strict=True)]
    return sum(max(map(len, column)) for column in columns)


def _heading(heading: Heading, wide: bool) -> str:
    alone = wide and len(heading.lines) == 1
    lines = heading.lines[0].split(" ") if alone else list(heading.lines)
    lines[-1] += heading.marks
    stacked = r"\\".join(map(escape, lines))
    return rf"\shortstack{{{stacked}}}"


def _cell(cell: str, mark: str | None, wide: bool) -> str:
    """A cell; where a row is wide, its interval and its number of runs on lines of their own."""
    first, *further = map(escape, re.split(r" (?=[\[(])", cell) if wide else [cell])
    first = marked(first, mark, _MARKS)
    if not further:
        return first
    stacked = r"\\{}".join([first, *further])  # {}: a bracket right after a line's end would be taken for a length
    return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{stacked}\end{{tabular}}"


def escape(text: str) -> str:
    """Text as LaTeX prints it; a minus before a number becomes a mathematical one."""
    escaped = "".join(_LATEX.get(c, c if c <= _LAST_LATIN else f"[U+{ord(c):04X}]") for c in text)
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped)
