"""`python -m experiments status|evaluate|rescore|mirror|search`: what surrounds the runs themselves (`run.py`)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from experiments.errors import SpecError


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 something is not done, 2 the input was refused."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="what is done, failed, running or cut off")
    status.add_argument("outputs", type=Path, nargs="?", default=Path("outputs"))
    mirror = commands.add_parser("mirror", help="write the W&B runs of a folder of records anew, from the records")
    mirror.add_argument("outputs", type=Path, nargs="?", default=Path("outputs"))
    mirror.add_argument("--wandb", choices=("offline", "online"), default="offline")
    evaluate = commands.add_parser("evaluate", help="load a run's checkpoint anew and score it again")
    evaluate.add_argument("run", type=Path, help="the folder of a run, with its record.json")
    evaluate.add_argument("--data", help="the folder of the data, where it has moved")
    evaluate.add_argument("--backbone", help="the folder of the backbone, where it has moved")
    rescore = commands.add_parser("rescore", help="score the stored generations of a run on math again")
    rescore.add_argument("run", type=Path, help="the folder of a run, with its record.json")
    search = commands.add_parser("search", help="equal trials per method, chosen on the selection split alone")
    search.add_argument("name", help="a file of conf/search")
    search.add_argument("--methods", help="comma-separated; default: all that the search lists")
    search.add_argument("--outputs", type=Path, default=Path("outputs/search"))
    search.epilog = "what follows -- are overrides of run.py, the same for every trial"
    words = sys.argv[1:] if arguments is None else arguments
    end = words.index("--") if "--" in words else len(words)
    chosen = parser.parse_args(words[:end])
    try:
        if chosen.command == "evaluate":
            return _evaluate(chosen.run, {"data": chosen.data, "backbone": chosen.backbone})
        if chosen.command == "rescore":
            from experiments.reevaluate import rescore as again

            return _compared(*again(chosen.run))
        if chosen.command == "search":
            return _search(chosen, words[end + 1 :])
        return _status(chosen.outputs) if chosen.command == "status" else _mirror(chosen.outputs, chosen.wandb)
    except (SpecError, FileNotFoundError) as error:
        for line in getattr(error, "errors", [str(error)]):
            print(f"error: {line}", file=sys.stderr)
        return 2


def _status(outputs: Path) -> int:
    from experiments.status import status

    text, done = status(outputs)
    print(text)
    return 0 if done else 1


def _evaluate(folder: Path, overrides: dict[str, str | None]) -> int:
    from experiments.reevaluate import evaluate

    return _compared(*evaluate(folder, overrides))


def _compared(recorded: dict[str, Any], now: dict[str, Any]) -> int:
    for name, value in now.items():
        print(f"{name}: recorded {recorded[name]}, now {value}")
    return 0 if all(recorded[name] == value for name, value in now.items()) else 1


def _mirror(outputs: Path, mode: str) -> int:
    from experiments.mirror import rebuild

    print(f"{rebuild(outputs, mode)} records mirrored")
    return 0


def _search(chosen: argparse.Namespace, overrides: list[str]) -> int:
    from experiments.search import best, run_search, space

    methods = chosen.methods.split(",") if chosen.methods else None
    found = space(chosen.name, methods)
    records = run_search(found, overrides, chosen.outputs)
    print(best(found, records))
    return 0 if all(record["outcome"] == "ok" for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
