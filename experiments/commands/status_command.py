"""`python -m experiments status DIR`; see `experiments.records.status`."""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.records.status import status
from schema.console import name_faults


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    own = commands.add_parser("status", help="what is done, failed, running or cut off")
    own.add_argument("outputs", type=Path, nargs="?", default=Path("outputs"), help="default: %(default)s")
    own.set_defaults(execute=_execute)


def _execute(chosen: argparse.Namespace) -> int:
    found = status(chosen.outputs)
    print(found.text)
    return name_faults(found.faults) or int(not found.is_done)
