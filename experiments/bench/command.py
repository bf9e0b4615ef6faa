"""Methods in turns: each in a process of its own, a few steps at a time, so that all share what the machine does."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from experiments.configuration.overrides import CONF
from experiments.configuration.overrides import options as files
from experiments.errors import RunFailed, SpecError
from experiments.records import provenance, record
from schema.record import Provenance

_ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = 1
#: What is timed of a step, a training step or an attachment, and how its median is called.
PARTS = {
    "passes": "pass_seconds",
    "updates": "update_seconds",
    "attach": "attach_seconds",
    "first_use": "first_use_seconds",
    "one_pass": "one_pass_seconds",
}
#: Of a table: heading, unit and format, by name in the record.
_COLUMNS = {
    "step_seconds": ("step ms", 1e-3, ".0f"),
    "step_ratio": ("over {baseline}", 1, ".3f"),
    "pass_seconds": ("passes ms", 1e-3, ".0f"),
    "attach_seconds": ("attach ms", 1e-3, ".0f"),
    "first_use_seconds": ("first use ms", 1e-3, ".0f"),
    "init_seconds": ("init s", 1, ".2f"),
    "merge_seconds": ("merge s", 1, ".3f"),
    "peak_bytes": ("peak MiB", 2**20, ".0f"),
    "state_bytes_per_weight": ("state bytes a weight", 1, ".4f"),
}


class Worker:
    """The process of one contender (`experiments.bench.worker`)."""

    def __init__(self, name: str, setting: Mapping[str, Any]) -> None:
        self.name = name
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.first = self._exchange(setting)

    def ask(self, command: str, *arguments: Any) -> dict[str, Any]:
        """The answer to a command."""
        return self._exchange([command, *arguments])

    def _exchange(self, message: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RunFailed(
                f"{self.name}: its process ended with status {self._process.wait()}; see its traceback above"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def setting_named(name: str) -> dict[str, Any]:
    """The file conf/bench/`name`.yaml.

    Raises:
        SpecError: if there is none.
    """
    if name not in files("bench"):
        raise SpecError([f"bench={name}: unknown; accepted: {', '.join(files('bench'))}"])
    found: dict[str, Any] = yaml.safe_load((CONF / "bench" / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


def measure(
    setting: Mapping[str, Any],
    targets: str,
    contenders: Mapping[str, Mapping[str, Any]],
    *,
    rounds: int,
    steps: int,
    threads: int,
    device: str = "cpu",
    authors: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure every contender on one target set.

    Args:
        setting: a file of conf/bench.
        targets: which of its target sets.
        contenders: their configurations by name; names that begin with "authors" run the authors' code.
        rounds: how often each has its turn after one to warm up.
        steps: training steps, or attachments, in a turn.
        threads: of torch, in each process; only one process works at a time.
        device: "cpu" or "cuda" to train; "meta" to attach to a model without weights.
        authors: the folder of the authors' code.

    Returns:
        by name, seconds by step and turn (some of `PARTS`), `held_bytes` and `peak_bytes` of the last turn, sizes, and
        of training `init_seconds` and `merge_seconds`.
    """
    workers: list[Worker] = []
    common = {key: setting[key] for key in ("architecture", "head", "batch", "length") if key in setting}
    try:
        for name, config in contenders.items():
            own = {"config": dict(config), "targets": setting["targets"][targets], "threads": threads, "device": device}
            folder = str(authors) if name.startswith("authors") else None
            workers.append(Worker(name, {**common, **own, "authors": folder}))
            print(f"{name}: ready", file=sys.stderr, flush=True)
        for worker in workers:
            worker.ask("warm_up", steps)
        results = {worker.name: dict(worker.first) for worker in workers}
        for number in range(rounds):
            for worker in workers:
                own, held = results[worker.name], worker.ask("forget_peak")
                for part, seconds in worker.ask("turn", steps).items():
                    own.setdefault(part, []).append(seconds)
                own |= held | worker.ask("peak")
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for worker in workers:
            results[worker.name] |= worker.ask("sizes")
        return results
    finally:
        for worker in workers:
            worker.__exit__(None, None, None)


def summary(results: Mapping[str, Mapping[str, Any]], baseline: str) -> dict[str, dict[str, Any]]:
    """Medians, and ratios to the baseline: the median over rounds of the ratio of both medians within the round."""

    def medians(name: str, parts: Sequence[str]) -> list[float]:
        turns = zip(*(results[name][part] for part in parts), strict=True)
        return [statistics.median(map(sum, zip(*turn, strict=True))) for turn in turns]

    def step(name: str) -> list[float]:
        return medians(name, [part for part in PARTS if part in results[name]])

    reference = step(baseline)
    return {
        name: {
            **{called: statistics.median(medians(name, [part])) for part, called in PARTS.items() if part in found},
            "step_seconds": statistics.median(step(name)),
            "step_ratio": statistics.median(a / b for a, b in zip(step(name), reference, strict=True)),
            "peak_over_baseline_bytes": found["peak_bytes"] - results[baseline]["peak_bytes"],
            "state_bytes_per_weight": _per_weight(found),
        }
        for name, found in results.items()
    }


def _per_weight(found: Mapping[str, Any]) -> float | None:
    weights = found.get("adapted_weights")
    return found["state_bytes"] / weights if weights and "state_bytes" in found else None


def bench(
    name: str,
    *,
    out: Path,
    only: Sequence[str] | None,
    targets: Sequence[str] | None,
    rounds: int | None,
    steps: int | None,
    threads: int,
    device: str | None,
    authors: Path | None,
) -> str:
    """Measure, write the record to `out`, and return it as a table of text. What is None is up to the setting.

    Raises:
        SpecError: if a name is unknown, the folder of the authors' code holds none, or the device is another than the
            setting's; nothing has been measured then.
    """
    setting = setting_named(name)
    own = setting.get("device")
    if own and device:
        raise SpecError([f"--device={device}: {name} is measured on {own}; accepted: no --device"])
    options: dict[str, Any] = {
        "rounds": rounds or setting.get("rounds", 7),
        "steps": steps or setting.get("steps", 3),
        "threads": threads,
        "device": own or device or "cpu",
    }
    contenders = {**setting["contenders"], **(setting["authors"] if authors else {})}
    chosen = _chosen("--contenders", only, contenders)
    sets = _chosen("--targets", targets, setting["targets"])
    if authors and not (authors / "peft" / "tuners" / "gpart").is_dir():
        raise SpecError([f"--authors={authors}: no peft/tuners/gpart in it; accepted: a folder with the authors' peft"])
    if setting["baseline"] not in chosen:
        raise SpecError([f"--contenders: {setting['baseline']}, whose times the ratios are over, has to be among them"])
    measured: dict[str, Any] = {}
    for target in sets:
        found = measure(setting, target, {key: contenders[key] for key in chosen}, authors=authors, **options)
        measured[target] = {"measured": found, "summary": summary(found, setting["baseline"])}
    result = {
        "schema": SCHEMA,
        "bench": name,
        "setting": setting,
        **options,
        "targets": measured,
        "provenance": provenance.collect(Provenance(), "off").model_dump(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    record.write_json(out, result)
    return table(result)


def _chosen(option: str, names: Sequence[str] | None, known: Mapping[str, Any]) -> list[str]:
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise SpecError([f"{option}={','.join(unknown)}: unknown; accepted: any of {', '.join(known)}"])
    return list(names or known)


def table(result: Mapping[str, Any]) -> str:
    """The record as a table in Markdown, for the screen; `python -m analysis bench` makes the one to print."""
    rows = [
        (target, name, {**part["measured"][name], **found})
        for target, part in result["targets"].items()
        for name, found in part["summary"].items()
    ]
    columns = {key: column for key, column in _COLUMNS.items() if any(row[2].get(key) is not None for row in rows)}
    heads = [head.format(baseline=result["setting"]["baseline"]) for head, _, _ in columns.values()]
    lines = [["targets", "method", *heads], ["---"] * (2 + len(heads))]
    for target, name, found in rows:
        values = [(found.get(key), unit, form) for key, (_, unit, form) in columns.items()]
        lines.append(
            [target, name, *("" if value is None else f"{value / unit:{form}}" for value, unit, form in values)]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
