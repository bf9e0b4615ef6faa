"""`python -m analysis COMMAND DIR`: what a paper prints, from the run records in a folder and below."""

from __future__ import annotations

import argparse
import os
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
from analysis.records import InputError
from analysis.report import all_command, report_command

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
"""Modules of commands; each registers its parser, with `execute` as what the command does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 2, with a line for each thing wrong, where the input is bad.

    It is 1 where whoever reads the output has gone (`| head`): no error, but the command did not end.
    """
    parser = argparse.ArgumentParser(prog="python -m analysis", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.register(commands)
    options = parser.parse_args(arguments)
    try:
        options.execute(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would fail once more as the interpreter ends (signal, "Note on SIGPIPE").
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except InputError as error:
        print("\n".join(error.lines), file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename}: cannot be written ({error.strerror})", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
