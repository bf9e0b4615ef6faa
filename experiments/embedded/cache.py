"""What the suite's own pretrained models share: a folder made once by one process, under a fixed seed and thread count.

Nothing here imports torch until a model is really made.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from experiments.configuration.digests import cache_folder, file_digest
from experiments.errors import SpecError

MANIFEST = "manifest.json"
"""In every cached folder: the sha256 of each of its other files."""

_verified: set[Path] = set()
"""Folders whose files this process has compared with their manifest."""


def recipe_digest(generator_version: int, recipe: Mapping[str, object]) -> str:
    """The identity of a pretrained model: sha256 of its generator's version and its pretraining recipe."""
    text = json.dumps({"generator_version": generator_version, **recipe}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def made_once(name: str, make: Callable[[Path], None], cache: Path | None = None) -> Path:
    """The folder `name` in the cache; where it is missing, or not what was made, `make` fills it.

    One process makes it, others wait for it, and it appears under its final name only when complete. Its files are
    compared with their manifest once per process; what does not agree, or has none, is made anew.

    Args:
        name: of the folder; it has to identify the contents.
        make: writes the contents into the empty folder that it is given.
        cache: the folder to hold it; by default $GPART_CACHE or else ~/.cache/gpart-suite.

    Raises:
        SpecError: if the folder has to be made and the cache cannot be written.
    """
    cache = cache or cache_folder()
    folder = cache / name
    if folder in _verified and folder.is_dir():
        return folder
    if _fault(folder):
        _make_anew(folder, make)
    _verified.add(folder)
    return folder


def _fault(folder: Path) -> str | None:
    """What is wrong with a cached folder, in a few words; None where its files are those of its manifest."""
    if not folder.exists():
        return "is missing"
    try:
        expected = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found = _digests(folder)
    except (OSError, ValueError):
        return "has no manifest of its files"
    differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    return f"is damaged ({', '.join(differing)})" if differing else None


def _digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file in a folder, by its path there."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def _make_anew(folder: Path, make: Callable[[Path], None]) -> None:
    """Fill a folder, under its lock, unless another process has done so meanwhile."""
    from filelock import FileLock

    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    with _writable(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        if fault := _fault(folder):
            with _writable(folder.parent):
                _take_away(folder, fault)
                partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
            _fill(partial, folder, make)
    finally:
        lock.release()


def _take_away(folder: Path, fault: str) -> None:
    if not folder.exists():
        return
    print(f"note: the cached model {folder} {fault}: it is made anew")
    if folder.is_dir():
        shutil.rmtree(folder)
    else:
        folder.unlink()


def _fill(partial: Path, folder: Path, make: Callable[[Path], None]) -> None:
    try:
        make(partial)
        manifest = json.dumps(_digests(partial), indent=1, sort_keys=True)
        (partial / MANIFEST).write_text(manifest + "\n", encoding="utf-8")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _writable(cache: Path) -> Iterator[None]:
    """Say in one line what the file system refuses."""
    try:
        yield
    except OSError as error:
        raise SpecError(
            [f"GPART_CACHE={cache}: cannot be written ({error}); accepted: a folder that can, for pretrained models"]
        ) from error


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """torch seeded and with this number of threads inside, as it was before outside.

    The thread count is fixed, whatever the caller's: another count sums in another order and gives other weights.
    """
    import torch

    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
