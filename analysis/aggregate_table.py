"""Aggregates across tasks as a table."""

from __future__ import annotations

from analysis.aggregates import Estimate, Pool, aggregate, aggregate_improvement, interquartile_mean, mean
from analysis.cells import Row, Section
from analysis.records import Run
from analysis.statistics import DRAWS
from analysis.tables import Heading, Table, older_note, without_score
from schema.key import Key

_NOTE = (
    "Over the tasks {tasks}, whose primary metrics are taken as they are, x 100. Interquartile mean: mean of the "
    "middle half of the runs of all tasks. Probability of improvement: that a run is better than one of {baseline} on "
    "a task drawn at random. Intervals: 95 %, {draws:,} draws of the bootstrap of seeds within each task; with 3 seeds "
    "they hold about 86 %, with 5 about 89 %. Rows with missing cells have no aggregate."
)


def estimates(pool: Pool, row: Row, base: Row | None) -> dict[str, Estimate | None]:
    """The aggregates of a row that has them, x 100: `iqm`, `mean`, and over a baseline `improvement`."""
    scores = 100 * pool.scores(row)
    compared = base is not None and base in pool.runs and row != base
    return {
        "iqm": aggregate(interquartile_mean, scores),
        "mean": aggregate(mean, scores),
        "improvement": aggregate_improvement(scores, 100 * pool.scores(base))
        if compared and base is not None
        else None,
    }


def aggregate_table(section: Section, base: Row | None, pool: Pool) -> Table:
    """The aggregates of a pool's rows, or why there are none; `base` is the row that others may improve on."""
    title = f"backbone {section.backbone}, protocol {section.protocol}, track {section.track}: across tasks"
    tasks = ", ".join(column.task for column in pool.columns)
    if pool.reason is not None:
        return Table(title, (Heading(("method",)),), (), (f"Not aggregated: {pool.reason}.",))
    names = ["method", "runs", "interquartile mean", "mean"]
    names += [f"probability of improvement over {base.label}"] if base is not None else []
    note = _NOTE.format(tasks=tasks, draws=DRAWS, baseline=base.label if base is not None else "a baseline")
    reasons = [f"{row.label}: {reason}." for row, reason in pool.reasons.items()]
    rows = [_row(pool, row, base) for row in pool.runs]
    notes = (note, *older_note(pool.runs), *reasons, *without_score(_grid(section, pool)))
    return Table(title, tuple(Heading((name,)) for name in names), tuple(rows), notes)


def _grid(section: Section, pool: Pool) -> list[tuple[Row, Key, tuple[Run, ...]]]:
    return [place for place in section.grid() if place[1] in pool.columns]


def _row(pool: Pool, row: Row, base: Row | None) -> tuple[str, ...]:
    found = estimates(pool, row, base)
    cells = pool.runs[row]
    texts = [_text(found["iqm"]), _text(found["mean"])]
    texts += [_text(found["improvement"])] if base is not None else []
    return (row.title, f"{len(cells)} tasks, {len(cells[0])} each", *texts)


def _text(found: Estimate | None) -> str:
    if found is None:
        return ""
    interval = "" if found.low is None or found.high is None else f" [{found.low:.2f}, {found.high:.2f}]"
    return f"{found.value:.2f}{interval}"
