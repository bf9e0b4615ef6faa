"""Folders of images that are not as they should be."""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from experiments.fuzz.case import Case, Expected
from experiments.fuzz.rows import BYTES
from experiments.fuzz.settings import SMALL

_WORDS = (*SMALL, "task=vision/folder", "data=local", "data.path=images", "data.train_rows=null", "data.test_rows=null")
Damage = Callable[[Path], object]

_CLASSES, _COUNTS = ("cat", "dog"), {"train": 12, "test": 4}
_DAMAGED = {"train": "images/train/cat/3.png", "test": "images/test/dog/1.png"}


def cases(generator: random.Random) -> Iterator[Case]:
    """A case for each damage, in the generator's order."""
    made = [("sound images", lambda folder: None, "done"), *_FOLDERS, *_one_of_them()]
    generator.shuffle(made)
    for about, damage, expected in made:
        yield Case("images", _WORDS, expected, about, _maker(damage))


def _maker(damage: Damage) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for split, count in _COUNTS.items():
            for place, name in enumerate(_CLASSES):
                (folder / "images" / split / name).mkdir(parents=True)
                for number in range(count):
                    path = folder / "images" / split / name / f"{number}.png"
                    path.write_bytes(_image(shade=100 * place + 5 * number))
        damage(folder)

    return make


def _image(
    mode: str = "RGB", size: tuple[int, int] = (8, 8), shade: int = 0, form: str = "PNG", **options: Any
) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new(mode, size, shade if len(mode) == 1 else (shade,) * len(Image.new(mode, (1, 1)).getbands())).save(
        buffer, form, **options
    )
    return buffer.getvalue()


_IMAGES: tuple[tuple[str, Callable[[], bytes], Expected], ...] = (
    *((f"{mode} as PNG", partial(_image, mode), "done") for mode in ("L", "RGBA", "LA", "1", "P")),
    *((f"RGB as {form}", partial(_image, form=form), "done") for form in ("JPEG", "BMP", "GIF", "WEBP")),
    ("CMYK as JPEG", lambda: _image("CMYK", form="JPEG"), "done"),
    ("16 bits", lambda: _image("I;16"), "either"),
    ("floats", lambda: _image("F", form="TIFF"), "either"),
    *((f"{size[0]}x{size[1]}", partial(_image, size=size), "done") for size in ((1, 1), (1, 900), (900, 1))),
    ("half a PNG", lambda: _image(size=(64, 64))[:60], "refused"),
    ("half a JPEG", lambda: _jpeg()[: len(_jpeg()) // 2], "refused"),
    ("a PNG with a flipped byte", lambda: _flipped(_image(size=(64, 64))), "refused"),
    ("a picture of 60,000 x 60,000 pixels", lambda: _bomb(), "refused"),
)


def _jpeg() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def _flipped(content: bytes) -> bytes:
    return content[:60] + bytes([content[60] ^ 255]) + content[61:]


def _bomb() -> bytes:
    """The header of a small PNG says that it is huge."""
    content = _image()
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def _one_of_them() -> Iterator[tuple[str, Damage, Expected]]:
    for split, name in _DAMAGED.items():
        for about, content in BYTES.items():
            yield f"{name} is {about}", partial(_written, name=name, made=partial(bytes, content)), "refused"
        for about, made, expected in _IMAGES:
            yield f"{name} is {about}", partial(_written, name=name, made=made), expected
        for target in ("nowhere", Path(name).name):
            yield f"{name} is a link to {target}", partial(_linked, name=name, target=target), "refused"
        yield f"{name} is a pipe", partial(_pipe, name=name), "either"
        yield f"{name} is a folder", partial(_folder, name=name), "either"
        yield f"one class of {split}", partial(_removed, name=f"images/{split}/dog"), "refused"
        yield f"an empty class of {split}", partial(_emptied, name=f"images/{split}/dog"), "refused"
        yield f"no {split}", partial(_removed, name=f"images/{split}"), "refused"


def _written(folder: Path, name: str, made: Callable[[], bytes]) -> None:
    (folder / name).write_bytes(made())


def _linked(folder: Path, name: str, target: str) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to(target)


def _pipe(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)


def _folder(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()


def _removed(folder: Path, name: str = "images") -> None:
    shutil.rmtree(folder / name)


def _emptied(folder: Path, name: str = "images") -> None:
    _removed(folder, name)
    (folder / name).mkdir()


def _added(name: str, content: bytes = b"") -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or _image())

    return damage


_FOLDERS: list[tuple[str, Damage, Expected]] = [
    ("no folder", _removed, "refused"),
    ("an empty folder", _emptied, "refused"),
    ("a third class in test", _added("test/cow/0.png"), "refused"),
    ("a third class in train", _added("train/cow/0.png"), "refused"),
    ("a hidden file", _added("train/cat/.DS_Store", b"x"), "done"),
    ("an AppleDouble file", _added("train/cat/._0.png", b"x"), "done"),
    ("a hidden folder", _added("train/.ipynb_checkpoints/0.png"), "done"),
    ("a note beside the classes", _added("train/README.txt", b"x"), "either"),
    ("a note among the images", _added("train/cat/README.txt", b"x"), "either"),
    ("an image beside the classes", _added("train/0.png"), "either"),
    ("an image deeper", _added("train/cat/deeper/0.png"), "either"),
    ("an ending in capitals", _added("train/cat/x.PNG"), "done"),
    ("a name with a line end", _added("train/cat/x\ny.png"), "either"),
    ("a class with a line end", _added("train/c\nt/0.png"), "refused"),
]
