"""`python -m experiments COMMAND`: what surrounds the runs themselves (`run.py`)."""

from __future__ import annotations

import argparse
import sys

from experiments.bench import bench_command
from experiments.chaos import chaos_command
from experiments.cli import silence
from experiments.commands import (
    clean,
    mirror_command,
    reproduce,
    retry,
    scoring_command,
    search_command,
    status_command,
)
from experiments.errors import RunFailed, SpecError
from experiments.fuzz import fuzz_command
from experiments.run import signals
from schema import console
from schema.arguments import Parser
from schema.console import complain

COMMANDS = (
    status_command,
    retry,
    clean,
    reproduce,
    mirror_command,
    scoring_command,
    search_command,
    bench_command,
    chaos_command,
    fuzz_command,
)
"""Modules of commands; each registers its parsers, with `execute` as what the command does and its exit status."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 something is not done, 2 the input was refused, 128 + N ended by signal N."""
    words = sys.argv[1:] if arguments is None else arguments
    return console.run(lambda: _main(words))


def _main(words: list[str]) -> int:
    parser = Parser(prog="python -m experiments", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.register(commands)
    end = words.index("--") if "--" in words else len(words)
    chosen = parser.parse_args(words[:end], argparse.Namespace(overrides=words[end + 1 :]))
    silence()
    try:
        with signals.raised():
            return int(chosen.execute(chosen))
    except SpecError as error:
        return _said(error.errors, 2)
    except OSError as error:
        if error.filename is None or isinstance(error, FileNotFoundError):
            raise
        return _said([console.refusal(error)], 2)
    except RunFailed as error:
        return _said([str(error)], 1)
    except signals.Interrupted as error:
        return _said([f"ended by {error.number.name}; what has been recorded stays"], error.status)


def _said(errors: list[str], status: int) -> int:
    complain(errors)
    return status


if __name__ == "__main__":
    sys.exit(main())
