"""`python -m experiments retry OUTPUTS`: what is not done is run again from its own text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.commands.options import choices
from experiments.commands.recorded import again
from experiments.commands.run_folders import run_folders
from experiments.configuration.identity import run_folder
from experiments.errors import RunFailed, SpecError
from experiments.records import lock, record
from experiments.run import preflight, runner
from schema.folder import Fault
from schema.plan import Plan
from schema.record import DONE, OUTCOMES, Record
from schema.run import RunSpec

CUT_OFF = "cut_off"
"""Begun, and neither ended nor going on: its process was killed with its parent, or its machine went down."""
STATES = (*(outcome for outcome in OUTCOMES if outcome not in DONE), CUT_OFF)


@dataclass(frozen=True)
class Unfinished:
    """A run to be made again: its folder, how it ended, and what it was asked for."""

    folder: Path
    state: str
    spec: RunSpec


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    own = commands.add_parser("retry", help="run again what failed, was interrupted or cut off")
    own.add_argument("outputs", type=Path, nargs="?", default=Path("outputs"), help="default: %(default)s")
    own.add_argument("--outcome", type=choices(STATES), default=STATES, help=f"of {','.join(STATES)}; default: all")
    own.add_argument("--resume", action="store_true", help="with resume=true: go on from the last epoch that was kept")
    own.set_defaults(execute=_execute)


def _execute(chosen: argparse.Namespace) -> int:
    found, going_on = unfinished(chosen.outputs, chosen.outcome)
    done = retry(found, chosen.resume)
    remark = f"; {going_on} are going on" if going_on else ""
    print(f"{done} of {len(found)} runs are done now{remark}")
    return 0 if done == len(found) and not going_on else 1


def unfinished(outputs: Path, states: Collection[str] = STATES) -> tuple[list[Unfinished], int]:
    """The runs below a folder that are in one of the states, and how many are going on, which are left alone.

    Raises:
        SpecError: one line for each run whose text is no run of today, all of them at once.
        SpecError: if there is no such folder.
    """
    found: list[Unfinished] = []
    errors: list[str] = []
    going_on = 0
    for folder in run_folders(outputs):
        if lock.is_held(folder):
            going_on += 1
            continue
        try:
            part = _unfinished(folder)
        except ValueError as error:
            errors += getattr(error, "errors", [f"{folder}: {' '.join(str(error).split())}"])
            continue
        if part is not None and part.state in states:
            found.append(part)
    if errors:
        raise SpecError(errors)
    return found, going_on


def _unfinished(folder: Path) -> Unfinished | None:
    """The run of a folder; None where it is done."""
    result = record.read(folder)
    if isinstance(result, Fault):
        raise SpecError([str(result)])
    if result is not None:
        if result.is_done:
            return None
        where, config = folder / record.RECORD, result.config.model_dump(mode="json")
        return Unfinished(folder, result.outcome, _below(folder, again(config, where)))
    path = folder / "spec.json"
    if not path.is_file():
        raise ValueError("it has neither a record nor a spec.json to go by; accepted: the folder of a run")
    plan = Plan.model_validate_json(path.read_text(encoding="utf-8"))
    return Unfinished(folder, CUT_OFF, _below(folder, again(plan.config, path)))


def _below(folder: Path, spec: RunSpec) -> RunSpec:
    """The run with the outputs folder that its own folder lies in now."""
    outputs = folder.parents[2] if len(folder.parents) > 2 else Path()
    moved = spec.model_copy(update={"outputs": outputs.as_posix()})
    if run_folder(moved, folder.name) != folder:
        raise ValueError(
            f"not where run.py puts a run; accepted: OUTPUTS/{run_folder(moved, 'ID').relative_to(outputs)}"
        )
    return moved


def retry(runs: Sequence[Unfinished], resume: bool) -> int:
    """Carry runs out again, each through the checks and locks of `run.py`; what goes wrong costs its run alone.

    Returns:
        how many of them are done now.
    """
    return sum(_again(part, resume) for part in runs)


def _again(part: Unfinished, resume: bool) -> bool:
    spec = part.spec.model_copy(update={"resume": True}) if resume else part.spec
    print(f"\nretry: {part.folder}, {part.state}", flush=True)
    try:
        runner.run(spec, preflight.reachable(spec), wait=False)
    except lock.Busy:
        print("note: another process carries this run out by now: it is left to it", flush=True)
    except (SpecError, RunFailed) as error:
        for line in getattr(error, "errors", [str(error)]):
            print(f"error: {line}", file=sys.stderr, flush=True)
    result = record.read(part.folder)
    return isinstance(result, Record) and result.is_done
