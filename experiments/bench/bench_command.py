"""`python -m experiments bench NAME`; see `experiments.bench.command`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from experiments.commands.options import count, names


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    own = commands.add_parser("bench", help="time, memory and bytes of methods, measured in turns")
    own.add_argument("name", help="a file of conf/bench")
    own.add_argument("--contenders", type=names, help="comma-separated; default: all that the file lists")
    own.add_argument("--targets", type=names, help="comma-separated sets of targets; default: all of the file")
    own.add_argument("--authors", type=Path, help="a folder with the authors' peft, to be measured as well")
    own.add_argument("--rounds", type=count, metavar="N", help="turns of each, once warm; default: the file's, else 7")
    own.add_argument("--steps", type=count, metavar="N", help="training steps in a turn; default: the file's, else 3")
    own.add_argument("--threads", type=count, metavar="N", default=os.cpu_count(), help="default: all cores")
    own.add_argument("--device", choices=("cpu", "cuda"), help="default: the file's, else cpu")
    own.add_argument("--out", type=Path, help="the record; default: outputs/bench/NAME.json")
    own.set_defaults(execute=_execute)


def _execute(chosen: argparse.Namespace) -> int:
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
