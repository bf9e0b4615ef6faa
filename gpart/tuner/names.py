"""Names of modules on which checkpoints and models agree, whatever is wrapped around the modules of either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from gpart.partition.partition import Partition
from gpart.partition.scopes import transformer_block

#: Where torch.compile, activation checkpointing and FullyShardedDataParallel hold what they wrap.
_WRAPPERS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")


def is_wrapped(name: str) -> bool:
    """Whether a name says by itself that a wrapper is in it."""
    return any(part in _WRAPPERS for part in name.split("."))


def dropped_by_name(name: str, dropped: Sequence[str] = _WRAPPERS) -> str:
    """The name without those of its parts that only wrappers have."""
    return ".".join(part for part in name.split(".") if part not in dropped)


def unwrapped(model: nn.Module) -> tuple[str, nn.Module]:
    """What torch.compile, DistributedDataParallel or DataParallel hold, with what its names begin with outside."""
    prefix = ""
    while True:
        if isinstance(model, DistributedDataParallel | DataParallel):
            prefix, model = f"{prefix}module.", model.module
        elif isinstance(inner := model._modules.get("_orig_mod"), nn.Module):
            prefix, model = f"{prefix}_orig_mod.", inner
        else:
            return prefix, model


def plain_name(model: nn.Module, name: str) -> str:
    """The name of a module or parameter of `model` without the wrappers around it and around what holds it.

    A part `module` is dropped where it is that of `DistributedDataParallel` or `DataParallel`, and kept where a model
    calls a module so.
    """
    kept, parent = [], model
    for part in name.split("."):
        if part not in _WRAPPERS and not (
            part == "module" and isinstance(parent, DistributedDataParallel | DataParallel)
        ):
            kept.append(part)
        parent = getattr(parent, part)
    return ".".join(kept)


def check_renamed(renamed: object) -> None:
    """Refuse what names no modules.

    Raises:
        ValueError: naming the argument, its value and what would be accepted.
    """
    pairs = renamed.items() if isinstance(renamed, Mapping) else [("", renamed)]
    if renamed is not None and not all(isinstance(old, str) and old and isinstance(new, str) for old, new in pairs):
        raise ValueError(
            f"renamed: {renamed!r}; accepted are None and a mapping of names in the checkpoint to names here, such as "
            "{'model.layers': 'layers'}"
        )


class Translation:
    """From the names in a checkpoint to those of a model.

    Args:
        model: the base.
        renamed: parts of names in the checkpoint, each with what it is called in the model; see `GPartConfig`.
        lists: names of the lists of blocks, where the scope is "transformer_block"; see `transformer_block`.
    """

    def __init__(self, model: nn.Module, renamed: Mapping[str, str] | None, lists: Sequence[str] | str | None) -> None:
        check_renamed(renamed)
        self.renamed, self.lists = renamed or {}, lists
        names = [plain_name(model, name) for name, _ in model.named_modules() if name]
        own = {part for name in names for part in name.split(".")}
        #: A part that no module of the model has can only be that of a wrapper.
        self.dropped = _WRAPPERS if "module" in own else (*_WRAPPERS, "module")

    def __call__(self, name: str) -> str:
        """The name here of what the checkpoint calls `name`."""
        dotted = f".{dropped_by_name(name, self.dropped)}."
        for old, new in self.renamed.items():
            dotted = dotted.replace(f".{old}.", f".{new}." if new else ".", 1)
        return dotted.strip(".")

    def under(self, partition: Partition, names: Sequence[str]) -> list[Partition]:
        """The partition with its layers called so, if they are the same layers; none otherwise."""
        own = [layer.name for layer in partition.layers]
        if list(names) == own or [self(name) for name in names] != own:
            return []
        blocks = None if partition.blocks is None else [transformer_block(name, self.lists) for name in names]
        return [partition.under(names, blocks)]

    def as_stored(self, partition: Partition, manifest: object) -> list[Partition]:
        """The partition with its layers called as a manifest calls them, if they are the same layers."""
        stored = manifest.get("layers") if isinstance(manifest, Mapping) else None
        if not isinstance(stored, list) or not all(isinstance(entry, str) for entry in stored):
            return []
        return self.under(partition, [entry.rpartition(" ")[0] for entry in stored])
