"""What the suite's own pretrained models share: a folder made once by one process, under a fixed seed and thread count.

Nothing here imports torch until a model is really made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def recipe_digest(generator_version: int, recipe: Mapping[str, Any]) -> str:
    """The identity of a pretrained model: sha256 of its generator's version and its pretraining recipe."""
    text = json.dumps({"generator_version": generator_version, **recipe}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def made_once(name: str, make: Callable[[Path], None], cache: Path | None = None) -> Path:
    """The folder `name` in the cache; where it is missing, `make` fills it.

    One process makes it, others wait for it, and it appears under its final name only when complete.

    Args:
        name: of the folder; it has to identify the contents.
        make: writes the contents into the empty folder that it is given.
        cache: the folder to hold it; by default $GPART_CACHE or else ~/.cache/gpart-suite.
    """
    from filelock import FileLock

    cache = cache or Path(os.environ.get("GPART_CACHE") or Path.home() / ".cache" / "gpart-suite")
    folder = cache / name
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        if not folder.is_dir():
            partial = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=cache))
            try:
                make(partial)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder


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
