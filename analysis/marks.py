"""Which cells of a table are marked: the best of a column, and the second, where the runs tell them apart."""

from __future__ import annotations

from analysis.cells import Row, Section
from analysis.differences import compared
from analysis.statistics import summarize
from schema.key import Key

BEST = "best"
SECOND = "second"


def marks(section: Section) -> tuple[dict[tuple[Row, Key], str], set[str]]:
    """The marked cells, and what the intervals that mark them are over ("seeds and examples", "examples", "seeds").

    Rows are ordered by their mean. The first is the best if the interval of its paired difference to the second is
    above 0; then the second is marked if its difference to the third is. Without shared seeds, or with one and no
    predictions, there is no interval and nothing is marked; nor is a row of which a run has no score.
    """
    found: dict[tuple[Row, Key], str] = {}
    grounds: set[str] = set()
    for column in section.columns:
        order = _ordered(section, column)
        for mark, row, following in zip((BEST, SECOND), order, order[1:], strict=False):
            ground = _ground(section, column, row, following)
            if ground is None:
                break
            found[row, column] = mark
            grounds.add(ground)
    return found, grounds


def _ordered(section: Section, column: Key) -> list[Row]:
    scores = {
        row: [run.score for run in section.cells.get((row, column), ()) if run.score is not None and run.state == "ok"]
        for row in section.rows
    }
    means = {row: summarize(own).mean for row, own in scores.items() if own}
    return sorted(means, key=lambda row: -means[row])[:3]


def _ground(section: Section, column: Key, row: Row, following: Row) -> str | None:
    """What the interval is over that tells two rows apart; None where none does."""
    if any(run.state != "ok" for run in section.cells[row, column]):
        return None
    claim = compared(section, [(row, following)], column)[0].claim
    return claim[0] if claim is not None and claim[1].low > 0 else None
