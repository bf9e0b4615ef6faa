"""`python -m analysis COMMAND DIR`: what a paper prints, from the run records in a folder and below."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from analysis import (
    aggregate_command,
    bench_command,
    isometry_command,
    plots_command,
    published_command,
    table_command,
    variance_command,
)
from analysis.records import InputError, read_runs
from analysis.report import all_command, report_command
from schema import console
from schema.arguments import Parser

COMMANDS = (
    table_command,
    aggregate_command,
    variance_command,
    published_command,
    plots_command,
    isometry_command,
    bench_command,
    report_command,
    all_command,
)
"""Modules of commands; each registers its parser, with `execute` as what the command does with its options.

One with an option `folder` is given the runs in it as well. It gives back the faults of other files that it read."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 2, with a line for each thing wrong, where the input is bad.

    It is 1 where files are set aside that cannot be used, each named in a line, or where the output cannot be written.
    """
    return console.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return _executed(options)
    except InputError as error:
        console.complain(error.lines)
        return 2
    except OSError as error:
        if error.filename is None and console.output_fails():
            raise
        console.complain([console.refusal(error)])
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m analysis", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.register(commands)
    return parser


def _executed(options: argparse.Namespace) -> int:
    """Run a command on what it reads: run records, unless it reads files of its own."""
    if "folder" not in options:
        return console.name_faults(options.execute(options))
    found = read_runs(options.folder)
    status = console.name_faults(found.faults)
    if not found.kept:
        raise InputError([f"{options.folder}: no record in it can be used; accepted: a folder with run records"])
    return console.name_faults(options.execute(options, found.kept) or ()) or status


if __name__ == "__main__":
    sys.exit(main())
