"""`python -m experiments search NAME -- OVERRIDES`; see `experiments.commands.search`."""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.commands.options import names
from experiments.errors import RunFailed
from schema.console import name_faults


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    own = commands.add_parser("search", help="equal trials per method, chosen on the selection split alone")
    own.add_argument("name", help="a file of conf/search")
    own.add_argument("--methods", type=names, help="comma-separated; default: all that the search lists")
    own.add_argument("--outputs", type=Path, default=Path("outputs", "search"), help="default: %(default)s")
    own.epilog = "what follows -- are overrides of run.py, the same for every trial"
    own.set_defaults(execute=_execute)


def _execute(chosen: argparse.Namespace) -> int:
    from experiments.commands.search import best, run_search, space

    found = space(chosen.name, chosen.methods)
    records = run_search(found, chosen.overrides, chosen.outputs)
    if not records.kept:
        name_faults(records.faults)
        raise RunFailed(f"search={chosen.name}: none of its trials has left a record; see above")
    print(best(found, records.kept))
    return name_faults(records.faults) or int(any(record.outcome != "ok" for record in records.kept))
