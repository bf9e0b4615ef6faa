"""`python -m experiments mirror DIR`; see `experiments.records.mirror`."""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.records.mirror import rebuild
from schema.console import name_faults


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    own = commands.add_parser("mirror", help="write W&B runs of recorded runs, from the records")
    own.add_argument("outputs", type=Path, nargs="?", default=Path("outputs"), help="default: %(default)s")
    own.add_argument("--wandb", choices=("offline", "online"), default="offline", help="default: %(default)s")
    own.add_argument("--all", action="store_true", help="also of records that have one, which it replaces")
    own.set_defaults(execute=_execute)


def _execute(chosen: argparse.Namespace) -> int:
    found = rebuild(chosen.outputs, chosen.wandb, chosen.all)
    print(found)
    return name_faults(found.faults) or int(found.failed > 0)
