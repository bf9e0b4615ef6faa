"""Methods in turns: each in a process of its own, a few steps at a time, so that all share what the machine does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from experiments.bench.measured import Measured
from experiments.bench.process import Worker
from experiments.bench.setting import Config, Job, Setting, setting_named
from experiments.bench.summary import Compared, table
from experiments.errors import SpecError
from experiments.records import provenance, record
from schema.bench import SCHEMA
from schema.record import Provenance


@dataclass(frozen=True)
class Options:
    """How a setting is measured.

    Attributes:
        rounds: how often each contender has its turn, after one to warm up.
        steps: training steps, or attachments, in a turn.
        threads: of torch, in each process; only one process works at a time.
        device: "cpu" or "cuda" to train; "meta" to attach to a model without weights.
    """

    rounds: int
    steps: int
    threads: int
    device: str


def measure(
    setting: Setting, targets: str, contenders: Mapping[str, Config], options: Options, authors: Path | None = None
) -> dict[str, Measured]:
    """Measure every contender on one target set.

    Args:
        setting: a file of conf/bench.
        targets: which of its target sets.
        contenders: their configurations by name; names that begin with "authors" run the authors' code.
        options: how.
        authors: the folder of the authors' code.

    Raises:
        RunFailed: if a process ends before it has answered.
    """
    with ExitStack() as stack:
        workers: list[Worker] = []
        for name, config in contenders.items():
            job = _job(setting, targets, config, options, authors if name.startswith("authors") else None)
            workers.append(stack.enter_context(Worker(name, job)))
            print(f"{name}: ready", file=sys.stderr, flush=True)
        return _in_turns(workers, options)


def _job(setting: Setting, targets: str, config: Config, options: Options, authors: Path | None) -> Job:
    return Job(
        architecture=setting.architecture,
        head=setting.head,
        batch=setting.batch,
        length=setting.length,
        config=config,
        targets=setting.targets[targets],
        threads=options.threads,
        device=options.device,
        authors=str(authors) if authors else None,
    )


def _in_turns(workers: Sequence[Worker], options: Options) -> dict[str, Measured]:
    for worker in workers:
        worker.warm_up(options.steps)
    results = {worker.name: Measured(worker.init_seconds) for worker in workers}
    for number in range(options.rounds):
        for worker in workers:
            own = results[worker.name]
            own.held_bytes = worker.forget_peak()
            own.turns.append(worker.turn(options.steps))
            own.peak_bytes = worker.peak()
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    for worker in workers:
        results[worker.name].sizes = worker.sizes()
    return results


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

    Args:
        name: of the setting.
        out: the file of the record.
        only: names of the contenders to measure.
        targets: names of the target sets to measure.
        rounds: see `Options`.
        steps: see `Options`.
        threads: see `Options`.
        device: "cpu" or "cuda".
        authors: the folder of the authors' code, which is measured as well.

    Raises:
        SpecError: if a name is unknown, the folder of the authors' code holds none, the device is another than the
            setting's or not there, or the record cannot be written; nothing has been measured then.
    """
    _require_place(out)
    setting = setting_named(name)
    options = Options(rounds or setting.rounds, steps or setting.steps, threads, _device(name, setting, device))
    contenders = _contenders(setting, only, authors)
    compared = {
        target: Compared(measure(setting, target, contenders, options, authors), setting.baseline)
        for target in _chosen("--targets", targets, setting.targets)
    }
    result = {
        "schema": SCHEMA,
        "bench": name,
        "setting": setting.model_dump(exclude_unset=True),
        **asdict(options),
        "targets": {target: _as_record(part) for target, part in compared.items()},
        "provenance": provenance.collect(Provenance(), "off").model_dump(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    record.write_json(out, result)
    return table(compared)


def _require_place(out: Path) -> None:
    """Refuse a record that could not be written once minutes have been measured."""
    parent = next(path for path in out.absolute().parents if path.exists())
    if out.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise SpecError([f"--out={out}: cannot be written; accepted: a file in a folder that can be written to"])


def _as_record(part: Compared) -> dict[str, object]:
    measured = {name: found.as_record() for name, found in part.measured.items()}
    return {"measured": measured, "summary": part.summary}


def _device(name: str, setting: Setting, asked: str | None) -> str:
    if setting.device and asked:
        raise SpecError([f"--device={asked}: {name} is measured on {setting.device}; accepted: no --device"])
    device = setting.device or asked or "cpu"
    if device == "cuda" and not _has_cuda():
        raise SpecError(["--device=cuda: this machine has none that torch can use; accepted: cpu"])
    return device


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _contenders(setting: Setting, only: Sequence[str] | None, authors: Path | None) -> dict[str, Config]:
    known = {**setting.contenders, **(setting.authors if authors else {})}
    chosen = {name: known[name] for name in _chosen("--contenders", only, known)}
    if authors and not (authors / "peft" / "tuners" / "gpart").is_dir():
        raise SpecError([f"--authors={authors}: no peft/tuners/gpart in it; accepted: a folder with the authors' peft"])
    if setting.baseline not in chosen:
        raise SpecError([f"--contenders: {setting.baseline}, whose times the ratios are over, has to be among them"])
    return chosen


def _chosen(option: str, names: Sequence[str] | None, known: Iterable[str]) -> list[str]:
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise SpecError([f"{option}={','.join(unknown)}: unknown; accepted: any of {', '.join(known)}"])
    return list(names or known)
