"""Paired differences to a baseline over shared seeds: from the per-example predictions of both, and from scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.cells import Row, Section
from analysis.predictions import ComparisonError, NoPredictionsError, checked_predictions
from analysis.records import InputError, Run
from analysis.significance import CLASSES, McNemar, holm, majority_p, mcnemar
from analysis.statistics import Interval, example_interval, seed_interval, two_level_interval
from schema.key import Key


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
    found = [difference(section, baseline, row, column) for row in rows for column in section.columns]
    corrected: dict[tuple[Row, Key], float] = {}
    for column in section.columns:
        tested = [(entry.row, entry.p) for entry in found if entry.column == column and entry.p is not None]
        corrected |= zip([(row, column) for row, _ in tested], holm([p for _, p in tested]), strict=True)
    return [replace(entry, holm_p=corrected.get((entry.row, entry.column))) for entry in found]


def difference(section: Section, baseline: Row, row: Row, column: Key) -> Difference:
    """The difference of one row to another in one column, over the seeds that both have."""

    def scored(place: Row) -> list[Run]:
        return [run for run in section.cells.get((place, column), ()) if run.state == "ok"]

    ours, theirs = scored(row), scored(baseline)
    pairs = [(run, other) for run in ours for other in theirs if run.seeds == other.seeds]
    found = Difference(row, column, None, tuple((run.id, other.id) for run, other in pairs), None)
    if not pairs:
        return replace(found, reason="missing" if not ours else "baseline missing" if not theirs else "no shared seed")
    try:
        return _from_predictions(found, pairs)
    except NoPredictionsError as reason:
        return replace(found, reason=f"not comparable: {reason}", over_seeds=_over_seeds(pairs))
    except ComparisonError as reason:
        return replace(found, reason=f"not comparable: {reason}")


def _over_seeds(pairs: Sequence[tuple[Run, Run]]) -> Interval | None:
    """The t interval over seeds of the recorded scores; None where not all were scored on the same rows."""
    rows = {run.environment.get("scored_rows") for pair in pairs for run in pair}
    return seed_interval(_by_seed(pairs)) if len(rows) == 1 else None


def _by_seed(pairs: Sequence[tuple[Run, Run]]) -> list[float]:
    return [a.score - b.score for a, b in pairs if a.score is not None and b.score is not None]


def _from_predictions(found: Difference, pairs: Sequence[tuple[Run, Run]]) -> Difference:
    metric = found.column.metric
    loaded = [(checked_predictions(run), checked_predictions(other)) for run, other in pairs]
    first = loaded[0][0]
    for run, part in zip((r for pair in pairs for r in pair), (p for pair in loaded for p in pair), strict=True):
        if not (np.array_equal(part.example_id, first.example_id) and np.array_equal(part.label, first.label)):
            raise ComparisonError(f"runs {pairs[0][0].id} and {run.id} were scored on different examples or labels")
    predictions = [(ours.prediction, theirs.prediction) for ours, theirs in loaded]
    interval, variance = example_interval(metric, predictions, first.label)
    return replace(
        found,
        interval=interval,
        over_seeds=seed_interval(_by_seed(pairs)),
        two_level=two_level_interval(_by_seed(pairs), variance, len(first.label)),
        tests=tuple(mcnemar(*pair, first.label) for pair in predictions) if metric in CLASSES else (),
    )
