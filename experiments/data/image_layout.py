"""Where in a folder of images the splits are, and what there is instead of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from experiments.data.image_files import entries, folders, is_image, some

_VALIDATION = ("validation", "val", "valid", "dev")
_NAMES = (("train", "training"), ("test", "testing"), _VALIDATION)
"""Names that folders of a split go by, in small letters."""


def split_folders(folder: Path, splits: Sequence[str]) -> dict[str, Path]:
    """The folder of each split, by its own name or by another one that such a split goes by; without those not found.

    Where there is no test, the validation images are the test, as GLUE's validation split is, unless they are asked
    for as another split. No folder is that of two splits.

    Raises:
        FileError: if a folder cannot be listed.
    """
    chosen = {split: folder / split for split in splits if folders(folder / split)}
    for names in (_usual_names, _stand_ins):
        for split in (split for split in splits if split not in chosen):
            named = [path for path in folders(folder) if path.name.lower() in names(split)]
            free = [path for path in named if path not in chosen.values() and folders(path)]
            if len(free) == 1:
                chosen[split] = free[0]
    return chosen


def _usual_names(split: str) -> Iterable[str]:
    return next((names for names in _NAMES if split.lower() in names), (split.lower(),))


def _stand_ins(split: str) -> Iterable[str]:
    return _VALIDATION if split.lower() == "test" else ()


def notes(folder: Path, chosen: Mapping[str, Path]) -> list[str]:
    """Which folders are read under another name than a split's, and which are not read though they look like one."""
    renamed = [f"{path.name} is read as split {split}" for split, path in chosen.items() if path != folder / split]
    unread = [path.name for path in folders(folder) if path.name.lower() in sum(_NAMES, ())]
    unread = [name for name in unread if folder / name not in chosen.values()]
    return renamed + [f"{name} is not read (task.splits.selection={name} selects the epoch by it)" for name in unread]


def advice(folder: Path) -> str:
    """What folders a folder has and what can be done, for those who have to be told that a split is missing.

    Raises:
        FileError: if it cannot be listed.
    """
    found = folders(folder)
    if not found:
        return ""
    there = f" (it has the folders {some(path.name for path in found)}"
    if any(is_image(path) for path in entries(found[0])):
        return f"{there}, with images in no split: move them to train/CLASS, and a part of them to test/CLASS)"
    return f"{there}; task.splits.train=NAME and task.splits.test=NAME choose among them)"
