"""Paired differences to a baseline over shared seeds: from the per-example predictions of both, and from scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from analysis.cells import Row, Section
from analysis.predictions import ComparisonError, NoPredictionsError, Predictions, checked_predictions
from analysis.records import InputError, Run, Value
from analysis.significance import CLASSES, McNemar, holm, majority_p, mcnemar
from analysis.statistics import Interval, example_intervals, seed_interval, two_level_interval
from schema.key import Key

_TOGETHER = 256
"""Differences drawn at once: a few thousand draws of some thousand models, 100 MB."""


@dataclass(frozen=True)
class Difference:
    """A row's difference to the baseline in one column.

    Attributes:
        row: the row.
        column: the column.
        interval: over test examples, from predictions; None where there are none to compare.
        pairs: ids of the runs behind it, by seed: the row's and the baseline's.
        reason: why there is no `interval`.
        over_seeds: from the recorded scores, over seeds; None for fewer than two.
        two_level: over seeds and test examples together; None where one of both is.
        tests: McNemar's test of each pair, for metrics of right and wrong predictions.
        holm_p: `p` corrected over the rows of the column; None where there is no test.
    """

    row: Row
    column: Key
    interval: Interval | None
    pairs: tuple[tuple[str, str], ...]
    reason: str | None
    over_seeds: Interval | None = None
    two_level: Interval | None = None
    tests: tuple[McNemar, ...] = ()
    holm_p: float | None = None

    @property
    def p(self) -> float | None:
        """One p-value of the tests over seeds; None where there is none."""
        return majority_p([test.p for test in self.tests]) if self.tests else None

    @property
    def claim(self) -> tuple[str, Interval] | None:
        """What a claim may go by: the interval over both, over examples (of one seed), or over seeds alone.

        None where there is none of them, or its metric had no value in some draw of examples.
        """
        found = {"seeds and examples": self.two_level, "examples": self.interval, "seeds": self.over_seeds}
        claim = next(((name, interval) for name, interval in found.items() if interval is not None), None)
        return claim if claim is not None and np.isfinite(claim[1]).all() else None


class _Pairing(NamedTuple):
    """A difference before its interval over examples, its pairs of runs, and their predictions where they tell it."""

    found: Difference
    runs: list[tuple[Run, Run]]
    predictions: list[tuple[Predictions, Predictions]]


def baseline_row(sections: Sequence[Section], name: str) -> list[Row | None]:
    """The row of each section that `name` means: a row's label, or a method that has one row there.

    Raises:
        InputError: if no section has it, or a method's name fits several rows.
    """
    found: list[Row | None] = []
    for section in sections:
        exact = [row for row in section.rows if row.label == name]
        rows = exact or [row for row in section.rows if row.method == name]
        if len(rows) > 1:
            labels = "; ".join(row.label for row in rows)
            raise InputError([f"--baseline={name}: fits several rows of {section.backbone}; accepted: one of {labels}"])
        found.append(rows[0] if rows else None)
    if not any(found):
        labels = "; ".join(sorted({row.label for section in sections for row in section.rows}))
        raise InputError([f"--baseline={name}: no such row; accepted: a method's name, or one of {labels}"])
    return found


def differences(section: Section, baseline: Row) -> list[Difference]:
    """The difference of every other row to the baseline in every column, over the seeds that both have."""
    rows = [row for row in section.rows if row != baseline]
    columns = [_column(section, baseline, rows, column) for column in section.columns]
    return [entry for entries in zip(*columns, strict=True) for entry in entries]


def _column(section: Section, baseline: Row, rows: Sequence[Row], column: Key) -> list[Difference]:
    """The differences of one column, with p-values corrected over its rows."""
    found = compared(section, [(row, baseline) for row in rows], column)
    tested = [place for place, entry in enumerate(found) if entry.p is not None]
    for place, p in zip(tested, holm([found[place].p or 0.0 for place in tested]), strict=True):
        found[place] = replace(found[place], holm_p=p)
    return found


def compared(section: Section, rows: Sequence[tuple[Row, Row]], column: Key) -> list[Difference]:
    """The difference of the first to the second row of each pair in one column, over the seeds that both have."""
    pairings = [_pairing(section, *pair, column) for pair in rows]
    told = [pairing for pairing in pairings if pairing.predictions]
    intervals = iter(_intervals(column.metric, [pairing.predictions for pairing in told]))
    return [_told(pairing, *next(intervals)) if pairing.predictions else pairing.found for pairing in pairings]


def _pairing(section: Section, row: Row, baseline: Row, column: Key) -> _Pairing:
    ours, theirs = (_scored(section, place, column) for place in (row, baseline))
    by_seeds: dict[tuple[Value, ...], list[Run]] = defaultdict(list)
    for run in theirs:
        by_seeds[tuple(run.seeds.values())].append(run)
    runs = [(run, other) for run in ours for other in by_seeds[tuple(run.seeds.values())]]
    found = Difference(row, column, None, tuple((run.id, other.id) for run, other in runs), None)
    if not runs:
        reason = "missing" if not ours else "baseline missing" if not theirs else "no shared seed"
        return _Pairing(replace(found, reason=reason), runs, [])
    try:
        return _Pairing(found, runs, _predictions(runs))
    except NoPredictionsError as reason:
        return _Pairing(replace(found, reason=f"not comparable: {reason}", over_seeds=_over_seeds(runs)), runs, [])
    except ComparisonError as reason:
        return _Pairing(replace(found, reason=f"not comparable: {reason}"), runs, [])


def _scored(section: Section, row: Row, column: Key) -> list[Run]:
    return [run for run in section.cells.get((row, column), ()) if run.state == "ok"]


def _over_seeds(pairs: Sequence[tuple[Run, Run]]) -> Interval | None:
    """The t interval over seeds of the recorded scores; None where not all were scored on the same rows."""
    rows = {run.environment.get("scored_rows") for pair in pairs for run in pair}
    return seed_interval(_by_seed(pairs)) if len(rows) == 1 else None


def _by_seed(pairs: Sequence[tuple[Run, Run]]) -> list[float]:
    return [a.score - b.score for a, b in pairs if a.score is not None and b.score is not None]


def _predictions(runs: Sequence[tuple[Run, Run]]) -> list[tuple[Predictions, Predictions]]:
    """The predictions of each pair.

    Raises:
        ComparisonError: if they cannot be paired.
    """
    loaded = [(checked_predictions(run), checked_predictions(other)) for run, other in runs]
    first = loaded[0][0]
    for run, part in zip((r for pair in runs for r in pair), (p for pair in loaded for p in pair), strict=True):
        if not (np.array_equal(part.example_id, first.example_id) and np.array_equal(part.label, first.label)):
            raise ComparisonError(f"runs {runs[0][0].id} and {run.id} were scored on different examples or labels")
    return loaded


def _intervals(
    metric: str, differences: Sequence[Sequence[tuple[Predictions, Predictions]]]
) -> list[tuple[Interval, float]]:
    """Interval and variance over test examples of each difference; those of the same examples are drawn together."""
    same: dict[bytes, list[int]] = defaultdict(list)
    for place, pairs in enumerate(differences):
        same[pairs[0][0].label.tobytes()].append(place)
    found: dict[int, tuple[Interval, float]] = {}
    for places in same.values():
        for start in range(0, len(places), _TOGETHER):
            chosen = places[start : start + _TOGETHER]
            found |= zip(chosen, _drawn(metric, [differences[place] for place in chosen]), strict=True)
    return [found[place] for place in range(len(differences))]


def _drawn(
    metric: str, differences: Sequence[Sequence[tuple[Predictions, Predictions]]]
) -> list[tuple[Interval, float]]:
    models = {id(part): part for pairs in differences for pair in pairs for part in pair}
    place = {identity: number for number, identity in enumerate(models)}
    numbers = [[(place[id(ours)], place[id(theirs)]) for ours, theirs in pairs] for pairs in differences]
    label = differences[0][0][0].label
    return example_intervals(metric, [part.prediction for part in models.values()], label, numbers)


def _told(pairing: _Pairing, interval: Interval, variance: float) -> Difference:
    found, by_seed, pairs = pairing.found, _by_seed(pairing.runs), pairing.predictions
    label = pairs[0][0].label
    is_of_classes = found.column.metric in CLASSES
    return replace(
        found,
        interval=interval,
        over_seeds=seed_interval(by_seed),
        two_level=two_level_interval(by_seed, variance, len(label)),
        tests=tuple(mcnemar(a.prediction, b.prediction, label) for a, b in pairs) if is_of_classes else (),
    )
