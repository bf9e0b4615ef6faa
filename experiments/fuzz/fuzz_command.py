"""`python -m experiments fuzz`: wrong input of every kind; exit status 1 where it is not answered as it should be."""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, zip_longest

from experiments.commands.options import choices, count
from experiments.fuzz import commands, images, settings, syntax, texts, weights
from experiments.fuzz.case import Case, Observed, Outcome, judged

SECTIONS: Mapping[str, Callable[[random.Random], Iterator[Case]]] = {
    "keys": settings.cases,
    "groups": syntax.cases,
    "text": texts.cases,
    "images": images.cases,
    "math": texts.math_cases,
    "weights": weights.cases,
    "commands": commands.cases,
}
"""The kinds of input, each with what makes its cases."""
_LINES = 3
"""So many lines of what was printed are told of a fault."""


def register(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    own = parsers.add_parser("fuzz", help="give wrong input of every kind, and judge what is said to it")
    own.add_argument("--cases", type=count, default=1000, metavar="N", help="how many; default: %(default)s")
    own.add_argument("--seed", type=int, default=0, help="of which cases; default: %(default)s")
    own.add_argument("--only", type=choices(tuple(SECTIONS)), default=tuple(SECTIONS), help=f"of {','.join(SECTIONS)}")
    own.set_defaults(execute=_execute)


def _execute(chosen: argparse.Namespace) -> int:
    found = fuzz(chosen.cases, chosen.seed, chosen.only)
    print(summary(found))
    return 1 if any(outcome.is_fault for _, _, outcome in found) else 0


Found = list[tuple[Case, Observed, Outcome]]


def fuzz(cases: int, seed: int, sections: Sequence[str]) -> Found:
    """Try cases of the sections in turns, each fault being told at once.

    Args:
        cases: how many at most.
        seed: of the choice.
        sections: of `SECTIONS`.
    """
    from experiments.fuzz.trial import tried, warm

    found: Found = []
    with warm():
        for case in chosen_cases(cases, seed, sections):
            seen = tried(case)
            outcome = judged(case, seen)
            found.append((case, seen, outcome))
            if outcome.is_fault:
                print(told(case, seen, outcome), flush=True)
    return found


def chosen_cases(cases: int, seed: int, sections: Sequence[str]) -> Iterator[Case]:
    """So many cases, of each section in turns for as long as it has any."""
    made = [SECTIONS[name](random.Random(f"{seed} {name}")) for name in sections]
    mixed = (case for turn in zip_longest(*made) for case in turn if case is not None)
    return islice(mixed, cases)


def told(case: Case, seen: Observed, outcome: Outcome) -> str:
    """A fault: what it is, the command, and the last lines that it printed."""
    lines = [line for line in (seen.stderr or seen.stdout).splitlines() if line.strip()][-_LINES:]
    more = [f"    wrote {', '.join(seen.written[:_LINES])}"] if outcome is Outcome.WROTE else []
    return "\n".join(
        [f"{outcome} ({case.section}): {case.command[:400]}", *(f"    {line[:300]}" for line in lines), *more]
    )


def summary(found: Found) -> str:
    """Counts by section and outcome, and of each fault the shortest command."""
    counts = Counter((case.section, outcome) for case, _, outcome in found)
    lines = [f"{section:10} {number:6}  {outcome}" for (section, outcome), number in sorted(counts.items())]
    faults = [(outcome, case) for case, _, outcome in found if outcome.is_fault]
    for kind in sorted({(outcome, case.section) for outcome, case in faults}):
        shortest = min((case.command for outcome, case in faults if (outcome, case.section) == kind), key=len)
        lines.append(f"{kind[0]} ({kind[1]}), shortest: {shortest}")
    return "\n".join([*lines, f"{len(found)} cases, {len(faults)} faults"])
