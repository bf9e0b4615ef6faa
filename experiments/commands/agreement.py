"""Whether two records of one run agree: bit by bit where that can be expected, else within intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet
from safetensors import safe_open

from experiments.configuration.digests import file_digest
from schema.record import Provenance, Record

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Kept:
    """A record with the folder of its files, as many of them as were kept."""

    record: Record
    folder: Path

    def sha256(self, path: str) -> str | None:
        """What the record says of a file; None where it names none of this path."""
        return next((item.sha256 for item in self.record.artifacts if item.path == path), None)

    def file(self, path: str) -> Path | None:
        """A file that is there and is the one that was recorded."""
        found, recorded = self.folder / path, self.sha256(path)
        return found if recorded and found.is_file() and file_digest(found) == recorded else None


@dataclass(frozen=True)
class Finding:
    """What came of comparing one part.

    Attributes:
        part: its name.
        agrees: None where it could not be compared.
        remark: what was compared, or why it was not.
    """

    part: str
    agrees: bool | None
    remark: str

    def __str__(self) -> str:
        word = {True: "agrees", False: "DIFFERS", None: "not compared"}[self.agrees]
        return f"  {self.part:<12} {word}: {self.remark}"


def environment(then: Record, now: Record) -> list[str]:
    """What differs of that on which bits depend: processor, accelerator, threads, processes and package versions."""
    old, new = _facts(then), _facts(now)
    differing = [f"{name} {old[name]}, now {new[name]}" for name in old if name in new and old[name] != new[name]]
    return differing if old.keys() & new.keys() >= {"torch", "processor"} else [*differing, "versions not recorded"]


def _facts(record: Record) -> dict[str, object]:
    provenance: Provenance = record.provenance
    machine = provenance.hardware
    named = {"processor": machine.processor, "instruction set": machine.instruction_set} if machine else {}
    return {
        **named,
        "accelerator": machine.accelerator if machine else None,
        # The provenance counts threads before the configuration's own number is set.
        "threads": (record.config.model_extra or {}).get("threads") or provenance.threads,
        "processes": provenance.processes or 1,
        **provenance.packages,
    }


def bits(then: Kept, now: Kept) -> list[Finding]:
    """Rows, scores, history, predictions and checkpoint, each compared exactly as far as it was kept."""
    return [
        rows(then.record, now.record),
        _scores(then.record, now.record),
        _history(then.record, now.record),
        _predictions(then, now),
        *_checkpoint(then, now),
    ]


def rows(then: Record, now: Record) -> Finding:
    """Whether the rows of every split are the same ones."""
    old, new = then.provenance.data_fingerprint, now.provenance.data_fingerprint
    differing = [name for name in old if old[name] != new.get(name)]
    return Finding("rows", not differing if old else None, f"of {', '.join(differing or old) or 'no split'}, by sha256")


def _scores(then: Record, now: Record) -> Finding:
    old, new = then.metrics.model_dump(), now.metrics.model_dump()
    shown = [f"{split} {name} {score}" for split, name, score in _flat(then)]
    same = (old, then.outcome) == (new, now.outcome)
    return Finding("scores", same, ", ".join(shown) if same else f"{', '.join(_changed(then, now))}")


def _flat(record: Record) -> Iterator[tuple[str, str, float | None]]:
    metrics = record.metrics
    for split, scores in {"test": metrics.test, "selection": metrics.selection, **metrics.further_tests}.items():
        yield from ((split, name, score) for name, score in (scores or {}).items())


def _changed(then: Record, now: Record) -> list[str]:
    old, new = ({(split, name): score for split, name, score in _flat(r)} for r in (then, now))
    lines = [f"outcome {then.outcome}, now {now.outcome}"] if then.outcome != now.outcome else []
    keys = dict.fromkeys([*old, *new])
    return lines + [
        f"{' '.join(key)} {old.get(key)}, now {new.get(key)}" for key in keys if old.get(key) != new.get(key)
    ]


def _history(then: Record, now: Record) -> Finding:
    old, new = then.history, now.history
    if old == new:
        return Finding(
            "history", True, f"{len(old.steps)} points, {len(old.epochs)} epochs, epoch {old.best_epoch} kept"
        )
    apart = [a.epoch for a, b in zip(old.steps, new.steps, strict=False) if a != b]
    apart += [a.epoch for a, b in zip(old.epochs, new.epochs, strict=False) if a != b]
    return Finding("history", False, f"first at epoch {min(apart):.4g}" if apart else "its length, or the epoch kept")


def _predictions(then: Kept, now: Kept) -> Finding:
    if then.sha256(PREDICTIONS) is None:
        return Finding("predictions", None, "none were recorded")
    if then.sha256(PREDICTIONS) == now.sha256(PREDICTIONS):
        return Finding("predictions", True, "the whole file")
    old, new = then.file(PREDICTIONS), now.file(PREDICTIONS)
    if old is None or new is None:
        return Finding("predictions", None, "another sha256, and the recorded file is not here")
    a, b = pyarrow.parquet.read_table(old), pyarrow.parquet.read_table(new)
    common = [name for name in a.column_names if name in b.column_names]
    # By their texts, which are exact and in which NaN is itself.
    differing = [name for name in common if repr(a[name].to_pylist()) != repr(b[name].to_pylist())]
    remark = f"{a.num_rows} rows of {', '.join(differing or common)}"
    return Finding("predictions", not differing and a.num_rows == b.num_rows, remark)


def _checkpoint(then: Kept, now: Kept) -> Iterator[Finding]:
    recorded = [
        i.path for i in then.record.artifacts if i.path.startswith("checkpoint/") and i.path.endswith(".safetensors")
    ]
    if not recorded:
        yield Finding("checkpoint", None, "none was kept")
    for path in recorded:
        if then.sha256(path) == now.sha256(path):
            yield Finding("checkpoint", True, f"the whole of {path}")
            continue
        old, new = then.file(path), now.file(path)
        if old is None or new is None:
            yield Finding("checkpoint", None, f"another sha256 of {path}, and the recorded file is not here")
            continue
        a, b = _tensors(old), _tensors(new)
        differing = [name for name in {**a, **b} if a.get(name) != b.get(name)]
        yield Finding("checkpoint", not differing, f"{len(differing) or len(a)} tensors of {path}")


def _tensors(path: Path) -> dict[str, tuple[str, list[int], bytes]]:
    """Type, shape and bytes of every tensor."""
    with safe_open(path, "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    return {name: (str(array.dtype), [*array.shape], array.tobytes()) for name, array in arrays.items()}
