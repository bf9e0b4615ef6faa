"""Where the files of a split are in a folder, as people and libraries lay them out."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.data import shards
from experiments.data.files import FileError
from experiments.errors import shorten

_STATE = "state.json"
"""The file beside the Arrow files that `Dataset.save_to_disk` writes, which lists them."""

_VALIDATION = "validation"
_ALSO_VALIDATION = ("dev", "val", "valid")


def split_files(folder: Path, split: str) -> list[Path]:
    """The files of a split in their order, which is that of the names; empty if there are none.

    `SPLIT.parquet`, `SPLIT.csv.gz`, ... and their shards (`shards.holds_split`), or what is in a folder SPLIT: files of
    rows, or the data set that `save_to_disk` wrote there.

    Raises:
        FileError: if the split is there more than once or not as a whole, or the folder cannot be listed.
    """
    beside = [path for path in data_files(folder) if shards.holds_split(path, split)]
    within = _saved(folder / split) or data_files(folder / split)
    found = beside + within
    if not found:
        return []
    names = [str(path.relative_to(folder)) for path in found]
    if (beside and within) or len({shards.ending(path) for path in found}) > 1:
        raise FileError(f"split {split} of {folder} is there more than once ({shards.listed(names)})", "one of them")
    if fault := shards.fault([path.name for path in found]):
        raise FileError(f"the files of split {split} in {folder} {fault}", "all shards of one whole split")
    return found


def local_files(folder: Path, split: str) -> list[Path]:
    """`split_files`, where a validation split may go by its other names: `dev`, `val` and `valid`.

    Raises:
        FileError: as `split_files`; also if the split is there by two names.
    """
    found = [files for name in names_of(split) if (files := split_files(folder, name))]
    if len(found) > 1:
        names = shards.listed([files[0].relative_to(folder).as_posix() for files in found])
        raise FileError(f"split {split} of {folder} is there more than once ({names})", "one of them")
    return found[0] if found else []


def names_of(split: str) -> list[str]:
    """The names that a split goes by: `validation_matched` also by `dev_matched`."""
    word, mark, rest = split.partition("_")
    others = _ALSO_VALIDATION if word == _VALIDATION else ()
    return [split, *(other + mark + rest for other in others)]


def data_files(folder: Path) -> list[Path]:
    """The files of rows in a folder by their names, those of every split; none where it is no folder.

    Raises:
        FileError: if it cannot be listed.
    """
    try:
        if not folder.is_dir():
            return []
        return sorted(path for path in folder.iterdir() if shards.ending(path) and path.is_file())
    except OSError as error:
        raise FileError(f"{shorten(str(folder))} cannot be listed ({error.strerror})", "a readable folder") from error


def _saved(folder: Path) -> list[Path]:
    """The Arrow files of a data set that `save_to_disk` wrote; none where it did not."""
    state = folder / _STATE
    try:
        if not state.is_file():
            return []
        files = [folder / str(part["filename"]) for part in json.loads(state.read_bytes())["_data_files"]]
        missing = [path.name for path in files if not path.is_file()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(f"{state} does not list its files ({error})", "a folder that save_to_disk wrote") from error
    if missing or not files:
        raise FileError(f"{folder} lacks {shards.listed(missing) or 'its files'}", "all files that state.json names")
    return files
