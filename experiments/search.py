"""Equal tuning budgets: the same number of trials for every method, chosen on the selection split alone.

`python -m experiments search minilm-l6 --methods gpart,lora -- profile=local local=FOLDER task=glue/sst2` runs the
trials that conf/search/minilm-l6.yaml lists, through `run.py` itself with `test=false`, so that no test score exists
that could be looked at, and prints the best trial of each method.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments import record
from experiments.errors import SpecError
from experiments.overrides import CONF, options

_RUN = Path(__file__).resolve().parent.parent / "run.py"

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


def run_search(search: Space, overrides: Sequence[str], outputs: Path) -> list[dict[str, Any]]:
    """Run every trial not yet recorded, and return their records; a failed trial counts as a trial.

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
    folders = sorted(path.parent for path in outputs.rglob("record.json"))
    return [result for folder in folders if (result := record.read(folder)) is not None]


def best(records: Sequence[dict[str, Any]]) -> str:
    """A table, best first, of every method's trials and their primary metric on the selection split."""
    rows = sorted(
        ((r["config"]["method"]["name"], r["key"]["task"], _score(r), r["outcome"], r["config"]) for r in records),
        key=lambda row: (row[0], row[1], -(row[2] if row[2] is not None else -1.0)),
    )
    lines = ["method    task              selection  rate      head rate  epochs  pooling  outcome"]
    for method, task, score, outcome, config in rows:
        recipe, pooling = config["recipe"], config["backbone"]["pooling"]
        shown = "missing" if score is None else f"{100 * score:.2f}"
        rates = f"{recipe['learning_rate']:<9g} {recipe['head_learning_rate']:<10g}"
        lines.append(f"{method:<9} {task:<17} {shown:<10} {rates} {recipe['epochs']:<7g} {pooling:<8} {outcome}")
    return "\n".join(lines)


def _score(result: dict[str, Any]) -> float | None:
    selection = result["metrics"]["selection"]
    return selection[result["metrics"]["primary"]] if selection else None


def _shown(trial: Trial) -> str:
    return " ".join(f"{key}={value}" for key, value in trial.items())
