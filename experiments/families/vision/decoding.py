"""Every image of a run decoded before it trains, so that no score is lost to one bad file."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import datasets
import PIL
import torch
from PIL import Image, UnidentifiedImageError

from experiments.configuration.digests import cache_folder
from experiments.data.image_files import shown
from experiments.errors import SpecError, shorten
from experiments.families.vision.transforms import as_rgb

_TOO_LARGE = (Image.DecompressionBombWarning, Image.DecompressionBombError)
_BATCH = 256
_MOST_SHOWN = 3
_WORTH_KEEPING = 1000
"""So many images take a second to decode: that they can be decoded is then kept for later runs."""


def require_images(rows: datasets.Dataset, column: str, where: str) -> None:
    """Refuse rows of which an image cannot be decoded; all of them are tried, on as many threads as torch has.

    Args:
        rows: with the images and their `example_id`.
        column: of the images.
        where: what to name in errors: the key, its value and the split.

    Raises:
        SpecError: in one line, with how many there are, and the first of them with what is wrong.
    """
    encoded = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    known = _mark(encoded, column) if len(rows) >= _WORTH_KEEPING else None
    if known is not None and known.is_file():
        return
    faults = _faults(encoded, column)
    if faults:
        ids = rows.select_columns(["example_id"])  # without the images, which a row would be read with
        raise SpecError([_refusal(where, column, {str(ids[i]["example_id"]): fault for i, fault in faults.items()})])
    if known is not None:
        with suppress(OSError):  # a cache that cannot be written costs time and nothing else
            known.parent.mkdir(parents=True, exist_ok=True)
            known.touch()


def _refusal(where: str, column: str, faults: dict[str, str]) -> str:
    first = ", ".join(f"{shown(name)} ({fault})" for name, fault in [*faults.items()][:_MOST_SHOWN])
    more = f" and {len(faults) - _MOST_SHOWN} more" if len(faults) > _MOST_SHOWN else ""
    return (
        f"{where}: {len(faults)} rows whose column {column} holds no image that can be read: {first}{more}; accepted: "
        f"files that Pillow decodes, of at most 8 bits a channel and {Image.MAX_IMAGE_PIXELS:,} pixels"
    )


def _mark(encoded: datasets.Dataset, column: str) -> Path:
    """The file in the suite's cache that says that these images can be decoded, by this version of Pillow."""
    digest = hashlib.sha256(PIL.__version__.encode())
    for row in encoded:
        digest.update(hashlib.sha256(row[column]["bytes"]).digest())
    return cache_folder() / "decoded" / digest.hexdigest()


def _faults(encoded: datasets.Dataset, column: str) -> dict[int, str]:
    """What keeps images from being decoded, by the number of their row."""
    found: dict[int, Exception] = {}
    with _sizes_refused(), ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for first in range(0, len(encoded), _BATCH):
            contents = [image["bytes"] for image in encoded[first : first + _BATCH][column]]
            for number, error in enumerate(threads.map(_decoded, contents), start=first):
                if error is not None:
                    found[number] = error
    return {number: _words(error, encoded[number][column]["bytes"]) for number, error in found.items()}


@contextmanager
def _sizes_refused() -> Iterator[None]:
    """Let Pillow raise for every size that it would warn of; the filter holds in all threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _decoded(content: bytes) -> Exception | None:
    """What keeps an image from being decoded as training decodes it; None if nothing does."""
    try:
        as_rgb(datasets.Image().decode_example({"bytes": content, "path": None}))
    except Exception as error:  # whatever Pillow's decoders stumble over in bytes that are not what they say
        return error
    return None


def _words(error: Exception, content: bytes) -> str:
    if isinstance(error, _TOO_LARGE):
        width, height = _size(content)
        return f"{width} x {height} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "no image at all" if content else "no bytes"
    return shorten(" ".join(str(error).split()), 120) or type(error).__name__


def _size(content: bytes) -> tuple[int, int]:
    """Width and height of an image that is too large to be decoded, from its header."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.size
    finally:
        Image.MAX_IMAGE_PIXELS = limit
