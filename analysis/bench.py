"""Bench records (`python -m experiments bench`; docs/RECORD.md), read and checked, with their medians and ratios."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from analysis.records import InputError, Value, flatten
from analysis.statistics import median_interval
from schema.bench import SCHEMA, BenchRecord
from schema.folder import Fault, Records
from schema.part import first_error
from schema.strict_json import read_json

PARTS = ("passes", "updates", "attach", "first_use", "one_pass")
"""What is timed of a step; a step's time is the sum of those that its record has."""
_TOP_LEVEL = frozenset({"schema", "bench", "setting", "rounds", "steps", "threads", "device", "targets", "provenance"})


class Ratio(NamedTuple):
    """Of step times to the baseline's: the median over rounds, with its 95 % interval where there are rounds enough."""

    median: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Bench:
    """One bench record.

    Attributes:
        name: of the setting.
        record: name of the file, without its ending.
        baseline: whose times the ratios are over.
        rounds: number of turns of each.
        steps: in each turn.
        measured: by set of targets and method what was measured, as in the record.
        terms: what has to be alike for times to stand in one table, by dotted key.
        environment: versions and commit, by dotted key.
    """

    name: str
    record: str
    baseline: str
    rounds: int
    steps: int
    measured: Mapping[str, Mapping[str, Mapping[str, Any]]]
    terms: Mapping[str, Value]
    environment: Mapping[str, Value]

    def seconds(self, targets: str, method: str, parts: Sequence[str] = PARTS) -> list[float]:
        """Median of the steps of each round, of all or some parts of a step."""
        found = self.measured[targets][method]
        turns = zip(*(found[part] for part in parts if part in found), strict=True)
        return [statistics.median(map(sum, zip(*turn, strict=True))) for turn in turns]

    def ratio(self, targets: str, method: str) -> Ratio:
        """Step times over the baseline's, round by round, since a round shares what the machine does besides."""
        pairs = zip(self.seconds(targets, method), self.seconds(targets, self.baseline), strict=True)
        ratios = [own / reference for own, reference in pairs]
        return Ratio(statistics.median(ratios), None if method == self.baseline else median_interval(ratios))


def read_benches(paths: Sequence[Path]) -> Records[Bench]:
    """The bench records among files, and of folders in every `*.json` directly in them; by name, copies once.

    Raises:
        InputError: if there is no file.
    """
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files:
        folders = ", ".join(map(str, paths))
        raise InputError([f"{folders}: no *.json in it; accepted: what `python -m experiments bench` writes"])
    found: dict[tuple[str, str], Bench] = {}
    faults: list[Fault] = []
    for file in files:
        try:
            bench = _read(file)
        except ValueError as error:
            faults.append(Fault(file, str(error)))
            continue
        first = found.setdefault((bench.name, bench.record), bench)
        if first != bench:
            reason = f"another record of {bench.name} in a file of this name; accepted: different names"
            faults.append(Fault(file, reason))
    return Records([found[key] for key in sorted(found)], faults)


def by_name(benches: Sequence[Bench]) -> dict[str, list[Bench]]:
    """The records that share tables: those of one name.

    Raises:
        InputError: with a line for each that differs from the first in setting, device, threads or hardware.
    """
    groups: dict[str, list[Bench]] = {}
    errors: list[str] = []
    for bench in benches:
        first = groups.setdefault(bench.name, [bench])[0]
        if first is bench:
            continue
        groups[bench.name].append(bench)
        differing = [
            f"{key} ({json.dumps(first.terms[key])}, {json.dumps(bench.terms[key])})"
            for key in sorted(first.terms.keys() & bench.terms.keys())
            if first.terms[key] != bench.terms[key]
        ]
        if differing:
            errors.append(
                f"{first.record}, {bench.record}: differ in {', '.join(differing)}; accepted in one table: records of "
                "one setting, device, thread count and machine"
            )
    if errors:
        raise InputError(errors)
    return groups


def _read(path: Path) -> Bench:
    content = read_json(path)
    accepted = "accepted: what `python -m experiments bench` writes"
    if not isinstance(content, dict) or not content.keys() >= _TOP_LEVEL:
        missing = _TOP_LEVEL - set(content if isinstance(content, dict) else ())
        raise ValueError(f"not a bench record (no {', '.join(sorted(missing))}); {accepted}")
    if (version := content.get("schema")) != SCHEMA:
        raise ValueError(f"schema={version}: unknown version of a bench record; accepted: {SCHEMA}")
    try:
        bench = _bench(path.stem, BenchRecord.model_validate(content))
        for targets, methods in bench.measured.items():
            for method in methods:
                _check(bench, targets, method)
    except ValidationError as error:
        raise ValueError(f"not a bench record ({first_error(error)}); {accepted}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a bench record ({type(error).__name__}: {error}); {accepted}") from None
    return bench


def _bench(name: str, record: BenchRecord) -> Bench:
    setting, provenance = record.setting, record.provenance
    measured = {targets: part.measured for targets, part in record.targets.items()}
    used = sorted({method for methods in measured.values() for method in methods})
    terms = {
        "setting": setting.model_dump(exclude={"contenders", "authors", "rounds", "steps"}),
        "method": {method: json.dumps(setting.configs[method], sort_keys=True) for method in used},
        "device": record.device,
        "threads": record.threads,
        "hardware": provenance.hardware,
    }
    return Bench(
        name=record.bench,
        record=name,
        baseline=setting.baseline,
        rounds=record.rounds,
        steps=record.steps,
        measured=measured,
        terms=flatten(terms),
        environment=flatten(provenance.model_dump(include={"git_sha", "git_dirty", "packages"})),
    )


def _check(bench: Bench, targets: str, method: str) -> None:
    found = bench.measured[targets][method]
    parts = [part for part in PARTS if part in found]
    shapes = {(len(found[part]), *map(len, found[part])) for part in parts}
    if shapes != {(bench.rounds, *[bench.steps] * bench.rounds)}:
        raise ValueError(f"{targets}, {method}: no {bench.rounds} rounds of {bench.steps} steps")
    if bench.baseline not in bench.measured[targets]:
        raise ValueError(f"{targets}: no {bench.baseline}, the baseline")
    if min(bench.seconds(targets, method)) <= 0:
        raise ValueError(f"{targets}, {method}: a time of 0 or less")
    if not isinstance(found["peak_bytes"], int):
        raise TypeError(f"{targets}, {method}: peak_bytes={found['peak_bytes']}")
