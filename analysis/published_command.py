"""`python -m analysis published`: the numbers that papers report, with source and certainty."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence

from analysis.published import FIELDS, Published, read_published
from analysis.records import InputError
from analysis.render import markdown
from analysis.tables import Heading, Table
from schema.folder import Fault

_FILTERS = ("method", "backbone", "task", "protocol", "certainty")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    command = commands.add_parser("published", help="numbers that papers report, with source and certainty")
    for name in _FILTERS:
        command.add_argument(f"--{name}", metavar="NAME", help=f"only this {name}")
    command.add_argument("--format", choices=("markdown", "csv"), default="markdown")
    command.set_defaults(execute=_print)


def _print(options: argparse.Namespace) -> Sequence[Fault]:
    wanted = {name: getattr(options, name) for name in _FILTERS if getattr(options, name) is not None}
    found = [e for e in read_published() if all(getattr(e, name) == value for name, value in wanted.items())]
    if not found:
        name = next(iter(wanted))
        known = sorted({str(getattr(entry, name)) for entry in read_published()})
        asked = ", ".join(f"--{key}={text}" for key, text in wanted.items())
        raise InputError([f"{asked}: no such number; accepted for --{name}: {', '.join(known)}"])
    if options.format == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows([_text(getattr(entry, name), "") for name in FIELDS] for entry in found)
    else:
        print(markdown([_table(found)]))
    return ()


def _table(found: Iterable[Published]) -> Table:
    names = [name for name in FIELDS if name not in ("spread", "spread_kind", "over")]
    rows = tuple(
        tuple(_text(entry.text if name == "value" else getattr(entry, name), "not recovered") for name in names)
        for entry in found
    )
    note = "Per cent (MT-Bench: points of 10), ± sample standard deviation where the source calls it one; parameters "
    note += "without the head. Certainty: V seen verbatim, 2 second-hand, I inferred."
    return Table("published numbers", tuple(Heading((name,)) for name in names), rows, (note,))


def _text(value: object, gap: str) -> str:
    if value is None:
        return gap
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
