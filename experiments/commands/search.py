"""Equal tuning budgets: the same number of trials for every method, chosen on the selection split alone.

`python -m experiments search minilm-l6 --methods gpart,lora -- profile=local local=FOLDER task=glue/sst2` runs the
trials that conf/search/minilm-l6.yaml lists, through `run.py` itself with `test=false`, so that no test score exists
that could be looked at, and prints the best trial of each method.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from experiments.configuration.overrides import CONF, options
from experiments.errors import SpecError
from schema.folder import Records, read_folder
from schema.record import Record

_RUN = Path(__file__).resolve().parents[2] / "run.py"

Trial = dict[str, Any]


@dataclass(frozen=True)
class Space:
    """A search: the trials of each method (overrides of run.py), as many for one as for another."""

    name: str
    trials: dict[str, list[Trial]]


def space(name: str, methods: Sequence[str] | None = None) -> Space:
    """The search of this name, from conf/search.

    Raises:
        SpecError: if there is none, a method has no trials in it, or the numbers of trials differ.
    """
    if name not in options("search"):
        raise SpecError([f"search={name}: unknown search; accepted: {', '.join(options('search'))}"])
    listed = yaml.safe_load((CONF / "search" / f"{name}.yaml").read_text(encoding="utf-8"))
    trials = {method: [{**listed["common"], **t} for t in own] for method, own in listed["trials"].items()}
    missing = [method for method in methods or [] if method not in trials]
    if missing:
        raise SpecError(
            [f"methods={method}: not in search {name}; accepted: {', '.join(trials)}" for method in missing]
        )
    chosen = {method: trials[method] for method in methods or trials}
    sizes = {method: len(own) for method, own in chosen.items()}
    if len(set(sizes.values())) != 1:
        raise SpecError([f"search={name}: unequal numbers of trials {sizes}; accepted: the same for every method"])
    return Space(name, chosen)


def run_search(search: Space, overrides: Sequence[str], outputs: Path) -> Records[Record]:
    """Run every trial not yet recorded, and return all records of the folder; a failed trial counts as a trial.

    Args:
        search: the trials.
        overrides: of run.py, the same for every trial (task, profile, seeds).
        outputs: the folder of the trials' records.
    """
    for method, trials in search.trials.items():
        for number, trial in enumerate(trials, 1):
            print(f"search {search.name}: {method}, trial {number} of {len(trials)}: {_shown(trial)}", flush=True)
            settings = [f"{key}={value}" for key, value in trial.items()]
            own = [f"method={method}", *settings, f"outputs={outputs}", "test=false", "track=equal_budget"]
            status = subprocess.run([sys.executable, str(_RUN), *overrides, *own]).returncode
            if status == 2:
                raise SpecError([f"search={search.name}: trial {_shown(trial)} of {method} was refused, see above"])
    return read_folder(outputs, lambda _, record: record)


def best(search: Space, records: Sequence[Record]) -> str:
    """A table, best first, of every method's trials: what chooses among them on the selection split, and the settings.

    That is the primary metric, or the loss where the primary metric is not computed there (generated answers); of equal
    trials the one that the search lists first.
    """
    settings = sorted({key for trials in search.trials.values() for trial in trials for key in trial if "." in key})
    own = [r for r in records if r.config.method.name in search.trials]
    varied = [key for key in settings if len({str(_setting(r, key)) for r in own}) > 1]
    rows = sorted(own, key=lambda r: (r.config.method.name, r.key.task, _rank(r), _place(search, r)))
    table = pd.DataFrame(
        [
            {
                "method": r.config.method.name,
                "task": r.key.task,
                "selection": _measured(r),
                **{key: _setting(r, key) for key in varied},
                "outcome": r.outcome,
            }
            for r in rows
        ]
    )
    return table.to_string(index=False)


def _score(result: Record) -> tuple[str, float | None]:
    """The name and value of what chooses: the primary metric on the selection split, or the loss."""
    selection, primary = result.metrics.selection or {}, result.key.metric
    name = "loss" if selection and primary not in selection else primary
    return name, selection.get(name)


def _rank(result: Record) -> float:
    """Less is better; a trial without a score comes last."""
    name, value = _score(result)
    return math.inf if value is None else value if name == "loss" else -value


def _place(search: Space, result: Record) -> int:
    """The trial's place in the search's list."""
    for place, trial in enumerate(search.trials[result.config.method.name]):
        settings = ((_setting(result, key), value) for key, value in trial.items() if "." in key)
        # A record keeps recipe.d with the method, and a prompt as what its name stands for.
        if all(recorded in (value, None) or isinstance(recorded, dict) for recorded, value in settings):
            return place
    return sys.maxsize


def _measured(result: Record) -> str:
    name, value = _score(result)
    if value is None:
        return "missing"
    return f"loss {value:.4f}" if name == "loss" else f"{100 * value:.2f}"


def _setting(result: Record, key: str) -> object:
    found: object = result.config.model_dump()
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _shown(trial: Trial) -> str:
    return " ".join(f"{key}={value}" for key, value in trial.items())
