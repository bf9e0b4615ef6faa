"""Paired differences to a baseline, from the per-example predictions of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.lib
import pyarrow.parquet
from numpy.typing import NDArray

from analysis.cells import Row, Section
from analysis.records import Column, InputError, Run
from analysis.statistics import METRICS, Interval, paired_bootstrap, score

_AGREEMENT = 1e-5
"""Largest difference between a recorded score and the same score from the predictions (correlations in float32)."""


@dataclass(frozen=True)
class Difference:
    """A row's difference to the baseline in one column: the interval, or the reason why there is none."""

    row: Row
    column: Column
    interval: Interval | None
    pairs: tuple[tuple[str, str], ...]
    reason: str | None


class Predictions(NamedTuple):
    """Predictions of one split, sorted by example id: ids, labels and predictions, each (n,)."""

    example_id: NDArray
    label: NDArray
    prediction: NDArray


class ComparisonError(Exception):
    """Two runs whose predictions cannot be paired, with the reason."""


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
    return [_difference(section, baseline, row, column) for row in rows for column in section.columns]


def _difference(section: Section, baseline: Row, row: Row, column: Column) -> Difference:
    def scored(place: Row) -> list[Run]:
        return [run for run in section.cells.get((place, column), ()) if run.state == "ok"]

    ours, theirs = scored(row), scored(baseline)
    pairs = [(run, other) for run in ours for other in theirs if run.seeds == other.seeds]
    ids = tuple((run.id, other.id) for run, other in pairs)
    if not pairs:
        missing = "missing" if not ours else "baseline missing" if not theirs else "no shared seed"
        return Difference(row, column, None, (), missing)
    try:
        return Difference(row, column, _interval(pairs, column), ids, None)
    except ComparisonError as reason:
        return Difference(row, column, None, ids, f"not comparable: {reason}")


def _interval(pairs: Sequence[tuple[Run, Run]], column: Column) -> Interval:
    if column.metric not in METRICS:
        raise ComparisonError(f"{column.metric} is not computed here, only {', '.join(METRICS)}")
    loaded = [(_checked(run), _checked(other)) for run, other in pairs]
    first = loaded[0][0]
    for run, part in zip((r for pair in pairs for r in pair), (p for pair in loaded for p in pair), strict=True):
        if not (np.array_equal(part.example_id, first.example_id) and np.array_equal(part.label, first.label)):
            raise ComparisonError(f"runs {pairs[0][0].id} and {run.id} were scored on different examples or labels")
    return paired_bootstrap(column.metric, [(a.prediction, b.prediction) for a, b in loaded], first.label)


def _checked(run: Run) -> Predictions:
    """A run's predictions, which must give the score that its record states."""
    column = run.column
    predictions = read_predictions(run.path.with_name("predictions.parquet"), column.split)
    found = float(score(column.metric, predictions.prediction, predictions.label)[0])
    if run.score is None or not abs(found - run.score) <= _AGREEMENT:
        raise ComparisonError(f"predictions of run {run.id} give {column.metric} {found:.6f}, its record {run.score}")
    return predictions


@lru_cache(maxsize=256)
def read_predictions(path: Path, split: str) -> Predictions:
    """One split of a predictions.parquet.

    Raises:
        ComparisonError: if the file cannot be read, lacks the split or names an example twice.
    """
    names = list(Predictions._fields)
    try:
        table = pyarrow.parquet.read_table(path, columns=names, filters=[("split", "==", split)])
    except (OSError, pyarrow.lib.ArrowException) as error:
        raise ComparisonError(f"{path.parent.name}/{path.name} cannot be read ({type(error).__name__})") from None
    if not table.num_rows:
        raise ComparisonError(f"{path.parent.name}/{path.name} has no rows of the split {split}")
    part = Predictions(*(table.column(name).to_numpy() for name in names))
    order = np.argsort(part.example_id, kind="stable")
    part = Predictions(*(values[order] for values in part))
    if (part.example_id[1:] == part.example_id[:-1]).any():
        raise ComparisonError(f"{path.parent.name}/{path.name} names an example twice")
    return part
