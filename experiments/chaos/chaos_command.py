"""`python -m experiments chaos FOLDER`: a sweep that is killed again and again ends as one that was not.

Kills a sweep's process group, the process of a run alone or its parent alone (SIGKILL, at random times), gives the same
command again at once, and compares with an undisturbed sweep: tables byte for byte, runs, artifacts, leftovers.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from experiments.chaos.aftermath import differences
from experiments.chaos.witness import Witness, runs
from experiments.commands.options import count, not_negative
from experiments.errors import SpecError

_ROOT = Path(__file__).resolve().parents[2]
_SIZES = ("recipe.epochs=0.3", "data.train_rows=200", "data.test_rows=40")
_METHODS = ("gpart", "lora", "head")
VICTIMS = ("group", "child", "parent")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    own = commands.add_parser("chaos", help="kill a sweep at random, and compare it with one that was left alone")
    own.add_argument("folder", type=Path, help="a new folder, for the records of both sweeps")
    own.add_argument("--jobs", type=count, default=12, help="runs of the sweep, a multiple of 3; default: %(default)s")
    own.add_argument("--kills", type=not_negative, default=20, help="default: %(default)s")
    own.add_argument("--seed", type=int, default=0, help="of the times and victims; default: %(default)s")
    own.set_defaults(execute=_execute)


def _execute(chosen: argparse.Namespace) -> int:
    found = chaos(chosen.folder, chosen.jobs, chosen.kills, random.Random(chosen.seed))
    for line in found:
        print(f"fault: {line}")
    print(f"{len(found)} faults" if found else "no fault: as if nothing had been killed")
    return 1 if found else 0


def chaos(folder: Path, jobs: int, kills: int, generator: random.Random) -> list[str]:
    """What a sweep under kills did otherwise than one that was left alone.

    Args:
        folder: for the records of both; it must not exist.
        jobs: runs of the sweep, a multiple of 3.
        kills: how many.
        generator: of victims and times.

    Raises:
        SpecError: if the folder exists, or the jobs are no multiple of 3.
    """
    if folder.exists():
        raise SpecError([f"FOLDER={folder}: exists; accepted: a new folder"])
    if jobs < 1 or jobs % len(_METHODS):
        raise SpecError([f"--jobs={jobs}: accepted: a multiple of {len(_METHODS)}, one run of each method and seed"])
    calm, killed = folder / "undisturbed", folder / "killed"
    began = time.monotonic()
    if subprocess.run(_command(calm, jobs), cwd=_ROOT).returncode:
        return ["the undisturbed sweep did not end ok"]
    seconds = (time.monotonic() - began) / jobs
    with Witness(killed) as witness:
        _kill(_command(killed, jobs), killed, kills, seconds, generator)
        status = subprocess.run(_command(killed, jobs), cwd=_ROOT).returncode
    ended = [f"the sweep ended with exit status {status}"] if status else []
    return [*ended, *witness.faults, *differences(calm, killed)]


def _kill(command: list[str], outputs: Path, kills: int, seconds: float, generator: random.Random) -> None:
    """Give the command of a sweep again and again, and kill a part of it each time.

    Args:
        command: of the sweep.
        outputs: its records.
        kills: how many.
        seconds: of one run, which the times are drawn from.
        generator: of victims and times.
    """
    sweep, done = _started(command), 0
    while done < kills:
        victim, delay = generator.choice(VICTIMS), generator.uniform(0.5, 2 * seconds)
        with suppress(subprocess.TimeoutExpired):
            # What is recorded already has to stand a further attempt as well.
            sweep = _started(command if sweep.wait(delay) else [*command, "rerun=true"])
            continue
        done += _hit(victim, sweep, outputs)
        print(f"kill {done} of {kills}: {victim}, after {delay:.1f} s", flush=True)
        if victim != "child":
            sweep.wait()
            sweep = _started(command)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.wait()


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    silent = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=_ROOT, stdout=silent, stderr=silent, start_new_session=True)


def _hit(victim: str, sweep: subprocess.Popen[bytes], outputs: Path) -> int:
    """How many were there to be killed."""
    if victim == "group":
        os.killpg(sweep.pid, signal.SIGKILL)
    elif victim == "parent":
        sweep.kill()
    else:
        children = [run.number for run in runs(outputs) if not run.is_orphan]
        for number in children:
            os.kill(number, signal.SIGKILL)
        return len(children)
    return 1


def _command(outputs: Path, jobs: int) -> list[str]:
    seeds = ",".join(map(str, range(jobs // len(_METHODS))))
    sweep = [f"method={','.join(_METHODS)}", f"seed={seeds}", "task=glue/rte", "logger=disabled", "threads=1", *_SIZES]
    return [sys.executable, str(_ROOT / "run.py"), "-m", "profile=embedded", *sweep, f"outputs={outputs}"]
