"""What methods cost, as tables of bench records and as lines of CSV."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from analysis.bench import PARTS, Bench, by_name
from analysis.render import to_csv
from analysis.statistics import BOOTSTRAP_MINIMUM, DRAWS
from analysis.tables import Heading, Table

_MIB = 2**20


class _Column(NamedTuple):
    """A number by its name in a line of CSV, how a table heads it, and in which unit it stands there."""

    key: str
    heading: str
    unit: float = 1


_COLUMNS = (
    _Column("step_seconds", "step, ms", 1e-3),
    _Column("ratio", "over {baseline}"),
    _Column("passes_seconds", "passes, ms", 1e-3),
    _Column("attach_seconds", "attach, ms", 1e-3),
    _Column("first_use_seconds", "first use, ms", 1e-3),
    _Column("init_seconds", "init, s"),
    _Column("merge_seconds", "merge, s"),
    _Column("peak_bytes", "peak, MiB", _MIB),
    _Column("state_bytes", "state, bytes"),
    _Column("state_bytes_per_weight", "state, bytes per weight"),
    _Column("checkpoint_bytes", "checkpoint, bytes"),
)
_CSV = (
    *("step_seconds", "ratio", "low", "high", *(f"{part}_seconds" for part in PARTS), "init_seconds", "merge_seconds"),
    *("peak_bytes", "held_bytes", "state_bytes", "state_bytes_per_weight", "checkpoint_bytes"),
    *("trainable", "theta", "adapted_weights"),
)
_NOT_MEASURED = "not measured"
_NOTE = (
    "Times are medians over rounds of the median over the steps of a round. Ratios are to {baseline}, taken within "
    "each round: their median, with the 95 % percentile interval of the bootstrap over rounds ({draws:,} draws; none "
    "below {minimum} rounds). It holds what the machine did meanwhile, not what another machine does."
)
_TRAINING_NOTE = (
    "A step is a training step: passes (forward and backward) and the optimizer's update. Peak memory is {of}. State: "
    "fixed tensors that the method keeps beside parameters, per adapted weight. Checkpoint: its tensors without those "
    "of the head."
)
_ATTACHMENT_NOTE = (
    "The model has no weights (meta device). A step is an attachment: attach, putting the adapter into the model, and "
    "first use, what a partition computes before it is used (group sizes, scale, digest); or one plain pass over as "
    "many int32 as there are adapted weights. Peak memory is of the process. State: what is kept after first use."
)


def bench_tables(benches: Sequence[Bench]) -> list[Table]:
    """A table for each setting and set of targets; records of one setting stand together.

    Raises:
        InputError: if they differ in what has to be alike in one table.
    """
    return [
        _table([bench for bench in own if targets in bench.measured], targets)
        for own in by_name(benches).values()
        for targets in sorted({targets for bench in own for targets in bench.measured})
    ]


def bench_csv(benches: Sequence[Bench]) -> str:
    """One line per record, set of targets and method, in seconds and bytes; an empty field is not measured."""
    header = ["bench", "record", "targets", "method", "rounds", "steps", "threads", "device"]
    lines: list[list[Any]] = [[*header, *_CSV]]
    for bench in benches:
        made = [bench.rounds, bench.steps, bench.terms["threads"], bench.terms["device"]]
        for line in _lines(bench):
            values = (line.get(key) for key in _CSV)
            numbers = [f"{value:.8g}" if isinstance(value, float) else value for value in values]
            lines.append([bench.name, bench.record, line["targets"], line["method"], *made, *numbers])
    return to_csv(lines)


def _table(benches: Sequence[Bench], targets: str) -> Table:
    found = [(bench, line) for bench in benches for line in _lines(bench) if line["targets"] == targets]
    columns = [column for column in _COLUMNS if any(line.get(column.key) is not None for _, line in found)]
    headings = ["method", *(column.heading.format(baseline=benches[0].baseline) for column in columns)]
    rows = [[line["method"], *(_cell(line, column) for column in columns)] for _, line in found]
    if len(benches) > 1:
        for (bench, _), row in zip(found, rows, strict=True):
            row.insert(1, bench.record)
        headings.insert(1, "record")
    return Table(
        title=f"{benches[0].name}, targets {targets}",
        headings=tuple(Heading((heading,)) for heading in headings),
        rows=tuple(map(tuple, rows)),
        notes=tuple(_notes(benches)),
    )


def _lines(bench: Bench) -> Iterator[dict[str, Any]]:
    """What there is to say of each method, in the record's units; what was not measured is absent."""
    for targets, methods in bench.measured.items():
        for method, found in methods.items():
            ratio = bench.ratio(targets, method)
            line = {key: value for key, value in found.items() if not isinstance(value, list)}
            line |= {"targets": targets, "method": method, "ratio": ratio.median}
            line["low"], line["high"] = ratio.interval or (None, None)
            line["step_seconds"] = statistics.median(bench.seconds(targets, method))
            for part in found.keys() & set(PARTS):
                line[f"{part}_seconds"] = statistics.median(bench.seconds(targets, method, [part]))
            if found.get("adapted_weights") and "state_bytes" in found:
                line["state_bytes_per_weight"] = found["state_bytes"] / found["adapted_weights"]
            yield line


def _cell(line: Mapping[str, Any], column: _Column) -> str:
    value = line.get(column.key)
    if value is None:
        # Where there is nothing to merge, the record says so by a null.
        return "not applicable" if column.key == "merge_seconds" and column.key in line else _NOT_MEASURED
    if column.key != "ratio":
        return _short(value / column.unit)
    return f"{value:.3f}" + (f" [{line['low']:.3f}, {line['high']:.3f}]" if line["low"] is not None else "")


def _short(value: float) -> str:
    """Three significant digits, or all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _notes(benches: Sequence[Bench]) -> Iterator[str]:
    first = benches[0]
    device, threads = first.terms["device"], first.terms["threads"]
    on_accelerator = device == "cuda"
    yield _NOTE.format(baseline=first.baseline, draws=DRAWS, minimum=BOOTSTRAP_MINIMUM)
    yield (
        _ATTACHMENT_NOTE
        if device == "meta"
        else _TRAINING_NOTE.format(of="of tensors on the accelerator" if on_accelerator else "of the process")
    )
    hardware = {
        key: first.terms.get(f"hardware.{key}") or "unknown" for key in ("processor", "instruction_set", "cores")
    }
    memory = first.terms.get("hardware.memory_bytes")
    yield (
        f"Measured on {hardware['processor']} ({hardware['instruction_set']}), {hardware['cores']} cores, "
        f"{_short(memory / 2**30) if isinstance(memory, int) else 'unknown'} GiB, accelerator "
        f"{first.terms.get('hardware.accelerator') or 'none'}; device {device}, threads {threads}; one method at a "
        "time, in turns."
    )
    for bench in benches:
        yield _provenance(bench)


def _provenance(bench: Bench) -> str:
    """Rounds, versions and commit of one record."""
    known = bench.environment
    packages = ", ".join(
        f"{name} {known.get(f'packages.{name}', 'unknown')}" for name in ("torch", "transformers", "peft")
    )
    commit = f"commit {str(known['git_sha'])[:12]}" if known.get("git_sha") else "no commit known"
    state = " with uncommitted changes" if known.get("git_dirty") else ""
    return f"{bench.record}: {bench.rounds} rounds of {bench.steps} steps; {packages}; {commit}{state}."
