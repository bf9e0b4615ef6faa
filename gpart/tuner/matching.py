"""Refusing a checkpoint of another partition: what differs, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gpart.partition.partition import Partition

#: What a configuration says of a partition and its manifest says again.
_SAID_TWICE = ("scheme", "d", "seed", "isometric", "scope")


def check_matches(stored: object, namesakes: Sequence[Partition], config: object) -> None:
    """Refuse a manifest or stamp of another partition.

    Args:
        stored: as it was read from a file; None is of any partition.
        namesakes: the partition, first under the names of the model, then under others that it is known by.
        config: of the adapter.

    Raises:
        ValueError: saying what differs.
    """
    if stored is None:
        return
    if not isinstance(stored, Mapping):
        raise ValueError(f"partition: {stored!r}; accepted are None and what an adapter_config.json holds")
    version, own = stored.get("version"), namesakes[0].scheme.version
    if type(version) is int and version > own:
        raise ValueError(f"checkpoint: made by a newer gpart (format {version}; this one reads {own})")
    differences = [partition.mismatch(stored) for partition in namesakes]
    if all(differences):
        raise ValueError(
            f"checkpoint: its partition is not this model's: {differences[0]}{_advice(stored, namesakes[0], config)}"
        )


def _advice(stored: Mapping[str, object], partition: Partition, config: object) -> str:
    """What the way out is, if what differs tells."""
    if any(stored.get(name) != getattr(config, name) for name in _SAID_TWICE):
        return "; for a new adapter of a configuration that was read and changed, set partition=None"
    differ = [name for name, value in partition.definition.items() if stored.get(name) != value]
    if differ == ["weights"]:
        return (
            "; converting weights to another type changes them too: load the base in the type that it had in "
            "training, merge there, and convert what is merged"
        )
    if set(differ) <= {"blocks"} and _shapes(stored.get("layers")) in (None, _shapes(partition.manifest["layers"])):
        return "; for the same modules under other names, give renamed={part of a name in the checkpoint: part here}"
    return ""


def _shapes(layers: object) -> list[str] | None:
    """The shapes in a list of layers as a manifest has it; None of anything else."""
    return [str(layer).rpartition(" ")[2] for layer in layers] if isinstance(layers, list) else None
