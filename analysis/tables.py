"""Tables as text: what stands in a cell, what is footnoted, and the notes that a reader needs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from analysis.cells import OLDER, Row, Section
from analysis.differences import Difference
from analysis.records import Run, Value
from analysis.statistics import DRAWS, Interval, Summary, summarize
from schema.key import Key

MISSING = "missing"
_DIGEST = 12
"""Characters of a digest (a commit, rows) that a footnote shows."""
_SCORES_NOTE = (
    "Cells: primary metric x 100 on {split}, {statistic} ± sample standard deviation over seeds (n = runs), both of "
    'runs that ended ok; other runs count in neither, and are named in their cell and below. "missing": no run. '
    "Parameters: trained values of the method, and of the task head that every method trains."
)
_SPLITS = {
    "selection": "the official validation split, at the epoch that is best on it (there is no test score)",
    "test": "the test split (GLUE: official validation), which selected nothing",
}
STATISTICS = ("mean", "median")
OLDER_NOTE = (
    f"{OLDER} identity 1: configuration files of a local backbone and commits of the hub were not part of it, so that "
    "runs of such a row may differ in them."
)
_DIFFERENCES_NOTE = (
    "Cells: score minus that of {baseline}, x 100, mean over the seeds that both have (n), and its 95 % interval."
)
_BASES = {
    "examples": (
        "With n=1: percentile interval of the paired bootstrap over test examples ({draws:,} draws). It holds what the "
        "choice of examples does, not what further seeds would."
    ),
    "seeds and examples": (
        "With n of 2 or more: over seeds and test examples together, the half-widths of the t interval over seeds and "
        "of the paired bootstrap over examples added in squares; each alone is in differences.csv."
    ),
    "seeds": '"seeds": t interval over seeds alone, since there are no predictions to compare.',
}
_TESTS_NOTE = (
    "Cells: p-value of the exact two-sided McNemar test that a method and {baseline} are right on equally many test "
    "examples, whatever the column's metric; over n seeds n/k times the k-th smallest p-value, k a majority. "
    "Holm: corrected over the rows of the column. Counts per seed are in differences.csv."
)


class Heading(NamedTuple):
    """A column's heading: its lines, and the numbers of its footnotes."""

    lines: tuple[str, ...]
    footnotes: tuple[int, ...] = ()

    @property
    def marks(self) -> str:
        """The footnotes' numbers as printed, or nothing."""
        return f" [{','.join(map(str, self.footnotes))}]" if self.footnotes else ""


@dataclass(frozen=True)
class Table:
    """A table of text, ready for any format; `marks` names the marked cells by number of row and cell."""

    title: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    marks: Mapping[tuple[int, int], str] = field(default_factory=dict)


def summary(runs: Sequence[Run]) -> Summary | None:
    """The summary x 100 of the runs that have a score; None where none has."""
    scores = [100 * run.score for run in runs if run.state == "ok" and run.score is not None]
    return summarize(scores) if scores else None


def score_table(section: Section, statistic: str = "mean") -> Table:
    """Scores of one section: a row per method and settings, a column per key; `statistic` is one of `STATISTICS`."""
    headings, footnotes = _headings(section)
    rows = [
        (
            row.title,
            *_sizes(section, row),
            *(_cell(section.cells.get((row, column), ()), statistic) for column in section.columns),
        )
        for row in section.rows
    ]
    notes = [
        _SCORES_NOTE.format(split=_SPLITS[section.columns[0].split], statistic=statistic),
        *footnotes,
        *older_note(section.rows),
        *without_score(section.grid()),
    ]
    fixed = [Heading(("method",)), Heading(("method parameters",)), Heading(("head parameters",))]
    return Table(_title(section), (*fixed, *headings), tuple(rows), tuple(notes))


def difference_table(section: Section, baseline: Row, found: Sequence[Difference]) -> Table:
    """Paired differences of one section to the baseline."""
    headings, footnotes = _headings(section)
    cells = {(entry.row, entry.column): _difference_cell(entry) for entry in found}
    rows = [(row.title, *(cells[row, column] for column in section.columns)) for row in section.rows if row != baseline]
    bases = {entry.claim[0] for entry in found if entry.claim}
    texts = [text.format(draws=DRAWS) for basis, text in _BASES.items() if basis in bases]
    note = " ".join([_DIFFERENCES_NOTE.format(baseline=baseline.label), *texts])
    reasons = [
        f"{entry.row.label}, {_name(entry.column)}: {entry.reason}."
        for entry in found
        if entry.reason and entry.reason.startswith("not comparable")
    ]
    title = f"{_title(section)}: difference to {baseline.label}"
    notes = (note, *footnotes, *older_note(section.rows), *reasons)
    return Table(title, (Heading(("method",)), *headings), tuple(rows), notes)


def significance_table(section: Section, baseline: Row, found: Sequence[Difference]) -> Table | None:
    """McNemar's tests of one section against the baseline; None where no cell has one."""
    cells = {(entry.row, entry.column): _test_cell(entry) for entry in found}
    if not any(entry.tests for entry in found):
        return None
    headings, _ = _headings(section)
    rows = [(row.title, *(cells[row, column] for column in section.columns)) for row in section.rows if row != baseline]
    title = f"{_title(section)}: McNemar's test against {baseline.label}"
    plain = [heading._replace(footnotes=()) for heading in headings]
    notes = (_TESTS_NOTE.format(baseline=baseline.label), *older_note(section.rows))
    return Table(title, (Heading(("method",)), *plain), tuple(rows), notes)


def older_note(rows: Iterable[Row]) -> tuple[str, ...]:
    """What the mark of rows of an older identity means; nothing where no row has it."""
    return (OLDER_NOTE,) if any(row.mark for row in rows) else ()


def without_score(cells: Iterable[tuple[Row, Key, Sequence[Run]]]) -> tuple[str, ...]:
    """A line for every run of some cells that no number counts, with why."""
    return tuple(
        f"{row.label}, {_name(column)}, run {run.id}: {run.state}" + (f" ({run.reason})." if run.reason else ".")
        for row, column, runs in cells
        for run in runs
        if run.state != "ok"
    )


def trials_note(runs: Iterable[Run]) -> str | None:
    """How many runs were left out because they are trials of a search; None where there are none."""
    count = sum(run.is_trial for run in runs)
    return f"Left out: {count} runs made with test=false (trials of a search).\n" if count else None


def _title(section: Section) -> str:
    return f"backbone {section.backbone}, protocol {section.protocol}, track {section.track}"


def _name(column: Key) -> str:
    return f"{column.task} ({column.source}, {column.subset})"


def _cell(runs: Sequence[Run], statistic: str) -> str:
    states = Counter(run.state for run in runs)
    others = [f"{states[state]} {state}" for state in sorted(states) if state != "ok"]
    scores = summary(runs)
    if scores is None:
        return ", ".join(others) or MISSING
    spread = f" ± {scores.std:.2f}" if scores.std is not None else ""
    return f"{getattr(scores, statistic):.2f}{spread} ({'; '.join([f'n={scores.n}', *others])})"


def _difference_cell(entry: Difference) -> str:
    if entry.claim is None:
        return (entry.reason or "undefined").split(":")[0]
    basis, interval = entry.claim
    alone = ", seeds" if basis == "seeds" else ""
    return f"{_signed(interval)} (n={len(entry.pairs)}{alone})"


def _signed(interval: Interval) -> str:
    difference, low, high = (100 * value for value in interval)
    return f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"


def _test_cell(entry: Difference) -> str:
    if entry.p is None or entry.holm_p is None:
        return (entry.reason or "not applicable").split(":")[0]
    return f"p {_p(entry.p)}, Holm {_p(entry.holm_p)} (n={len(entry.tests)})"


def _p(value: float) -> str:
    return f"= {value:.4f}" if value >= 1e-4 else "< 0.0001"


def _sizes(section: Section, row: Row) -> tuple[str, str]:
    runs = section.runs(row=row)
    return _range({run.theta for run in runs}), _range({run.head for run in runs})


def _range(counts: set[int | None]) -> str:
    """A count, or the least and the most where a row's columns differ (a head has as many outputs as classes)."""
    known = sorted(count for count in counts if count is not None)
    if not known:
        return MISSING
    return f"{known[0]:,}" if known[0] == known[-1] else f"{known[0]:,} to {known[-1]:,}"


def _headings(section: Section) -> tuple[list[Heading], list[str]]:
    """Headings of the columns, and the text of the footnotes that they carry, numbered."""
    headings: list[Heading] = []
    notes: list[str] = []
    for column in section.columns:
        first = len(notes) + 1
        notes += [
            f"[{first + i}] {_name(column)}: {text}." for i, text in enumerate(_mixed(section.runs(column=column)))
        ]
        lines = (column.task, column.metric, column.source, column.subset)
        headings.append(Heading(lines, tuple(range(first, len(notes) + 1))))
    return headings, notes


def _mixed(runs: Sequence[Run]) -> list[str]:
    """What is not the same for all scored runs of a column, one text each, and runs from an unclean checkout."""
    scored = [run for run in runs if run.state == "ok"]
    dirty = sum(run.environment["git_dirty"] is True for run in scored)
    texts = [f"{dirty} of {len(scored)} runs from a checkout with uncommitted changes"] if dirty else []
    for name in sorted({name for run in scored for name in run.environment} - {"git_dirty"}):
        found = Counter(run.environment.get(name) for run in scored)
        counts = Counter[str]()
        for value, count in found.items():
            counts[_shown(value)] += count
        if len(counts) > 1:
            texts.append(f"{name} differs: " + ", ".join(f"{value} (n={counts[value]})" for value in sorted(counts)))
    return texts


def _shown(value: Value) -> str:
    """A value as text; of a digest its beginning, which tells it from others."""
    text = str(value)
    return text[:_DIGEST] if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", text) else text
