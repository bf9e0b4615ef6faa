"""What a record says twice, or of things that exclude each other: edited ones show here, whoever wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from schema.identity import VERSION, run_id
from schema.metrics import out_of_range
from schema.record import Record, Scores
from schema.validation import shown

_REFERENCES = ("data_reference", "backbone_reference")
_NO_SETTINGS = {"identity_version", *_REFERENCES}


def problems(record: Record, config: Mapping[str, object]) -> Iterator[str]:
    """One line for each contradiction in a record.

    Args:
        record: of any version, raised to the newest.
        config: its configuration, as it stands in the file.
    """
    yield from _said_twice(record)
    yield from _outcome(record)
    yield from _scores(record)
    if record.identity.version == VERSION:
        yield from _identity(record, config)


def _said_twice(record: Record) -> Iterator[str]:
    key, config = record.key, record.config
    twice: dict[str, tuple[object, ...]] = {
        "key.protocol": (key.protocol, record.protocol, config.protocol.name),
        "key.track": (key.track, record.track, config.track),
        "key.source": (key.source, config.data.source),
        "key.backbone": (key.backbone, config.backbone.label),
        "key.task": (key.task, ("embedded/" if key.source == "embedded" else "") + config.task.name),
        "key.metric": (key.metric, config.task.primary, record.metrics.primary or key.metric),
        "seeds": (record.seeds, config.seeds),
    }
    for name, (value, *others) in twice.items():
        for other in others:
            if value != other:
                yield f"{name}={value}: the rest of the record says {other}; accepted: the same"


def _outcome(record: Record) -> Iterator[str]:
    """Of a run that ended well: an error, or no scores."""
    if record.outcome != "ok":
        return
    if record.error is not None:
        yield f"error.type={record.error.type}: the outcome is ok; accepted: null"
    split = record.key.split if record.config.test else "selection"
    if getattr(record.metrics, split) is None:
        yield f"metrics.{split}=null: the outcome is ok; accepted: scores by name"


def _scores(record: Record) -> Iterator[str]:
    """Scores that their metric cannot have."""
    parts: dict[str, Scores] = {
        "selection": record.metrics.selection or {},
        "test": record.metrics.test or {},
        **{f"further_tests.{name}": scores for name, scores in record.metrics.further_tests.items()},
    }
    for part, scores in parts.items():
        for name, score in scores.items():
            if accepted := out_of_range(name, score):
                yield f"metrics.{part}.{name}={score}: not accepted; accepted: {accepted}"


def _identity(record: Record, config: Mapping[str, object]) -> Iterator[str]:
    """An id, a setting or a reference that is not the one that was hashed."""
    covered = record.identity.hashed
    if run_id(covered) != record.id:
        yield (
            f"id={record.id}: identity.hashed is that of {run_id(covered)}, so that one of both was edited; " + _WRITTEN
        )
    settings = {name: value for name, value in covered.items() if name not in _NO_SETTINGS}
    for name, value, hashed in _differing(settings, config, "config."):
        yield f"{name}={shown(value)}: identity.hashed says {shown(hashed)}; {_WRITTEN}"
    for name in _REFERENCES:
        if covered.get(name) != getattr(record.provenance, name):
            yield f"provenance.{name}: identity.hashed says another; {_WRITTEN}"


_WRITTEN = "accepted: a record as it was written"


def _differing(
    hashed: Mapping[str, object], config: Mapping[str, object], prefix: str
) -> Iterator[tuple[str, object, object]]:
    """Key, value and hashed value of every setting that is another than was hashed."""
    for name, value in hashed.items():
        own = config.get(name)
        if isinstance(value, Mapping) and isinstance(own, Mapping):
            yield from _differing(value, own, f"{prefix}{name}.")
        elif own != value:
            yield f"{prefix}{name}", own, value
