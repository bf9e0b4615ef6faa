"""`python -m experiments COMMAND`: what surrounds the runs themselves (`run.py`)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.errors import SpecError

if TYPE_CHECKING:
    from experiments.commands.reevaluate import Reloaded


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 something is not done, 2 the input was refused."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="what is done, failed, running or cut off")
    status.add_argument("outputs", type=Path, nargs="?", default=Path("outputs"))
    mirror = commands.add_parser("mirror", help="write the W&B runs of a folder of records anew, from the records")
    mirror.add_argument("outputs", type=Path, nargs="?", default=Path("outputs"))
    mirror.add_argument("--wandb", choices=("offline", "online"), default="offline")
    recorded = argparse.ArgumentParser(add_help=False)
    recorded.add_argument("run", type=Path, help="the folder of a run, with its record.json")
    trained = argparse.ArgumentParser(add_help=False, parents=[recorded])
    trained.add_argument("--data", help="the folder of the data, where it has moved")
    trained.add_argument("--backbone", help="the folder of the backbone, where it has moved")
    commands.add_parser("evaluate", parents=[trained], help="load a run's checkpoint anew and score it again")
    commands.add_parser("rescore", parents=[recorded], help="score the stored generations of a run on math again")
    batching = commands.add_parser(
        "batching", parents=[trained], help="generate in batches and one at a time, and count what differs"
    )
    batching.add_argument("--rows", type=_count, help="so many of the first test rows; default: all")
    harness = commands.add_parser("lm-eval", parents=[trained], help="score a run on math with lm-eval's gsm8k task")
    harness.add_argument("--rows", type=_count, help="so many of the first test rows; default: all")
    harness.add_argument("--few-shot", type=int, help="examples in the prompt; default: lm-eval's own 5")
    bench = commands.add_parser("bench", help="time, memory and bytes of methods, measured in turns")
    bench.add_argument("name", help="a file of conf/bench")
    bench.add_argument("--contenders", type=_words, help="comma-separated; default: all that the file lists")
    bench.add_argument("--targets", type=_words, help="comma-separated sets of targets; default: all of the file")
    bench.add_argument("--authors", type=Path, help="a folder with the authors' peft, to be measured as well")
    bench.add_argument("--rounds", type=_count, help="turns of each, once warm; default: the file's, else 7")
    bench.add_argument("--steps", type=_count, help="training steps in a turn; default: the file's, else 3")
    bench.add_argument("--threads", type=_count, default=os.cpu_count(), help="default: all cores")
    bench.add_argument("--device", choices=("cpu", "cuda"), help="default: the file's, else cpu")
    bench.add_argument("--out", type=Path, help="the record; default: outputs/bench/NAME.json")
    search = commands.add_parser("search", help="equal trials per method, chosen on the selection split alone")
    search.add_argument("name", help="a file of conf/search")
    search.add_argument("--methods", help="comma-separated; default: all that the search lists")
    search.add_argument("--outputs", type=Path, default=Path("outputs/search"))
    search.epilog = "what follows -- are overrides of run.py, the same for every trial"
    words = sys.argv[1:] if arguments is None else arguments
    end = words.index("--") if "--" in words else len(words)
    chosen = parser.parse_args(words[:end])
    try:
        return _COMMANDS[chosen.command](chosen, words[end + 1 :])
    except (SpecError, FileNotFoundError) as error:
        for line in getattr(error, "errors", [str(error)]):
            print(f"error: {line}", file=sys.stderr)
        return 2


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: accepted: an integer of at least 1")
    return int(text)


def _words(text: str) -> list[str]:
    return text.split(",")


def _bench(chosen: argparse.Namespace, _: list[str]) -> int:
    from experiments.bench.command import bench

    text = bench(
        chosen.name,
        out=chosen.out or Path("outputs") / "bench" / f"{chosen.name}.json",
        only=chosen.contenders,
        targets=chosen.targets,
        rounds=chosen.rounds,
        steps=chosen.steps,
        threads=chosen.threads,
        device=chosen.device,
        authors=chosen.authors,
    )
    print(text)
    return 0


def _status(chosen: argparse.Namespace, _: list[str]) -> int:
    from experiments.records.status import status

    text, done = status(chosen.outputs)
    print(text)
    return 0 if done else 1


def _reloaded(chosen: argparse.Namespace, family: str | None = None) -> Reloaded:
    from experiments.commands.reevaluate import reload

    return reload(chosen.run, {"data": chosen.data, "backbone": chosen.backbone}, family)


def _evaluate(chosen: argparse.Namespace, _: list[str]) -> int:
    from experiments.commands.reevaluate import evaluate

    return _compared(*evaluate(_reloaded(chosen)))


def _rescore(chosen: argparse.Namespace, _: list[str]) -> int:
    from experiments.commands.reevaluate import rescore

    return _compared(*rescore(chosen.run))


def _compared(recorded: dict[str, Any], now: dict[str, Any]) -> int:
    for name, value in now.items():
        print(f"{name}: recorded {recorded[name]}, now {value}")
    return 0 if all(recorded[name] == value for name, value in now.items()) else 1


def _batching(chosen: argparse.Namespace, _: list[str]) -> int:
    from experiments.commands.reevaluate import batching

    compared = batching(_reloaded(chosen, "math"), chosen.rows)
    print(f"{compared.identical} generations are the same in batches and one at a time, {compared.differing} are not")
    if compared.differing:
        print(f"largest gap of logits at a first differing token: {compared.largest_gap:.3g}")
    return 0 if compared.by_rounding else 1


def _lm_eval(chosen: argparse.Namespace, _: list[str]) -> int:
    from experiments.commands.reevaluate import lm_eval
    from experiments.families.math.harness import require_harness

    require_harness()
    for name, value in lm_eval(_reloaded(chosen, "math"), chosen.rows, chosen.few_shot).items():
        print(f"{name}: {value}")
    return 0


def _mirror(chosen: argparse.Namespace, _: list[str]) -> int:
    from experiments.records.mirror import rebuild

    print(f"{rebuild(chosen.outputs, chosen.wandb)} records mirrored")
    return 0


def _search(chosen: argparse.Namespace, overrides: list[str]) -> int:
    from experiments.commands.search import best, run_search, space

    methods = chosen.methods.split(",") if chosen.methods else None
    found = space(chosen.name, methods)
    records = run_search(found, overrides, chosen.outputs)
    print(best(found, records))
    return 0 if all(record.outcome == "ok" for record in records) else 1


_COMMANDS: dict[str, Callable[[argparse.Namespace, list[str]], int]] = {
    "status": _status,
    "mirror": _mirror,
    "evaluate": _evaluate,
    "rescore": _rescore,
    "batching": _batching,
    "lm-eval": _lm_eval,
    "search": _search,
    "bench": _bench,
}


if __name__ == "__main__":
    sys.exit(main())
