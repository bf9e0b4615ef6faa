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

from experiments import provenance, record
from experiments.errors import RunFailed, SpecError
from experiments.overrides import CONF, options

_ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = 1


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
    if name not in options("bench"):
        raise SpecError([f"bench={name}: unknown; accepted: {', '.join(options('bench'))}"])
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
        steps: training steps in a turn.
        threads: of torch, in each process; only one process works at a time.
        device: "cpu" or "cuda".
        authors: the folder of the authors' code.

    Returns:
        by name, seconds by step and turn (`passes`, `updates`), `init_seconds`, `merge_seconds`, `peak_bytes`, sizes.
    """
    workers: list[Worker] = []
    common = {key: setting[key] for key in ("architecture", "head", "batch", "length")}
    try:
        for name, config in contenders.items():
            own = {"config": dict(config), "targets": setting["targets"][targets], "threads": threads, "device": device}
            folder = str(authors) if name.startswith("authors") else None
            workers.append(Worker(name, {**common, **own, "authors": folder}))
            print(f"{name}: ready after {workers[-1].first['init_seconds']:.2f} s", file=sys.stderr, flush=True)
        results = {worker.name: {**worker.first, "passes": [], "updates": []} for worker in workers}
        for number in range(rounds + 1):
            for worker in workers:
                worker.ask("forget_peak")
                times = worker.ask("steps", steps)
                if number:
                    for part in ("passes", "updates"):
                        results[worker.name][part].append(times[part])
                    results[worker.name]["peak_bytes"] = worker.ask("peak")["peak_bytes"]
            print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
        for worker in workers:
            results[worker.name] |= worker.ask("sizes") | worker.ask("merge")
        return results
    finally:
        for worker in workers:
            worker.__exit__(None, None, None)


def summary(results: Mapping[str, Mapping[str, Any]], baseline: str) -> dict[str, dict[str, Any]]:
    """Medians, and ratios to the baseline: the median over rounds of the ratio of both medians within the round."""

    def medians(name: str, parts: Sequence[str]) -> list[float]:
        turns = zip(*(results[name][part] for part in parts), strict=True)
        return [statistics.median(map(sum, zip(*turn, strict=True))) for turn in turns]

    step, passes = ("passes", "updates"), ("passes",)
    reference = medians(baseline, step)
    return {
        name: {
            "step_seconds": statistics.median(medians(name, step)),
            "pass_seconds": statistics.median(medians(name, passes)),
            "step_ratio": statistics.median(a / b for a, b in zip(medians(name, step), reference, strict=True)),
            "peak_over_baseline_bytes": found["peak_bytes"] - results[baseline]["peak_bytes"],
            "state_bytes_per_weight": _per_weight(found),
        }
        for name, found in results.items()
    }


def _per_weight(found: Mapping[str, Any]) -> float | None:
    weights = found.get("adapted_weights")
    return found["state_bytes"] / weights if weights else None


def bench(
    name: str,
    *,
    out: Path,
    only: Sequence[str] | None,
    targets: Sequence[str] | None,
    rounds: int,
    steps: int,
    threads: int,
    device: str,
    authors: Path | None,
) -> str:
    """Measure, write the record to `out`, and return it as a table of text.

    Raises:
        SpecError: if a name is unknown, or the folder of the authors' code holds none; nothing has been measured then.
    """
    setting = setting_named(name)
    contenders = {**setting["contenders"], **(setting["authors"] if authors else {})}
    chosen = _chosen("--contenders", only, contenders)
    sets = _chosen("--targets", targets, setting["targets"])
    if authors and not (authors / "peft" / "tuners" / "gpart").is_dir():
        raise SpecError([f"--authors={authors}: no peft/tuners/gpart in it; accepted: a folder with the authors' peft"])
    if setting["baseline"] not in chosen:
        raise SpecError([f"--contenders: {setting['baseline']}, whose times the ratios are over, has to be among them"])
    measured: dict[str, Any] = {}
    for target in sets:
        found = measure(
            setting,
            target,
            {key: contenders[key] for key in chosen},
            rounds=rounds,
            steps=steps,
            threads=threads,
            device=device,
            authors=authors,
        )
        measured[target] = {"measured": found, "summary": summary(found, setting["baseline"])}
    result = {
        "schema": SCHEMA,
        "bench": name,
        "setting": setting,
        "rounds": rounds,
        "steps": steps,
        "threads": threads,
        "device": device,
        "targets": measured,
        "provenance": provenance.collect("off"),
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
    """The record as a table in Markdown."""
    head = "| targets | method | step ms | over {} | passes ms | init s | merge s | peak MiB | state bytes a weight |"
    lines = [head.format(result["setting"]["baseline"]), "|---|---|---|---|---|---|---|---|---|"]
    for target, part in result["targets"].items():
        for name, found in part["summary"].items():
            raw = part["measured"][name]
            merge = "" if raw["merge_seconds"] is None else f"{raw['merge_seconds']:.3f}"
            state = "" if found["state_bytes_per_weight"] is None else f"{found['state_bytes_per_weight']:.4f}"
            times = f"{1e3 * found['step_seconds']:.0f} | {found['step_ratio']:.3f} | {1e3 * found['pass_seconds']:.0f}"
            cells = f"{raw['init_seconds']:.2f} | {merge} | {raw['peak_bytes'] / 2**20:.0f} | {state}"
            lines.append(f"| {target} | {name} | {times} | {cells} |")
    return "\n".join(lines)
