"""Every image that training could stumble over is refused before it, by name."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from experiments.errors import SpecError
from experiments.families.vision import decoding
from experiments.families.vision.decoding import require_images
from experiments.families.vision.transforms import as_rgb

PIXELS = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(kind: str = "JPEG", mode: str = "RGB", **options: object) -> bytes:
    return encoded(Image.fromarray(PIXELS).convert(mode), kind, **options)


def rows(*contents: bytes) -> datasets.Dataset:
    ids = [f"cat/{number}.jpg" for number in range(len(contents))]
    images = [{"bytes": content, "path": None} for content in contents]
    features = datasets.Features({"image": datasets.Image(), "example_id": datasets.Value("string")})
    return datasets.Dataset.from_dict({"image": images, "example_id": ids}, features=features)


def refusal(*contents: bytes) -> str:
    with pytest.raises(SpecError) as error:
        require_images(rows(*contents), "image", "data.path=x: split test")
    (line,) = error.value.errors
    assert line.isprintable()
    return line


DEEP = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (photo()[:-900], "image file is truncated"),
        (photo("PNG")[:-900], "truncated"),
        (photo("WEBP")[:-900], "cat/1.jpg ("),
        (photo("GIF")[:-900], "cat/1.jpg ("),
        (photo("TIFF")[:-900], "cat/1.jpg ("),
        (photo("AVIF")[:-900], "cat/1.jpg ("),
        (photo("PNG").replace(b"IDAT", b"IDAU"), "cat/1.jpg ("),
        (photo("BMP")[:-900], "cat/1.jpg ("),
        (b"", "no bytes"),
        (b"<html><body>404</body></html>", "no image at all"),
        (b"\x80\x04K\x05.", "no image at all"),
        (encoded(Image.fromarray(DEEP)), "its mode is I;16, more than 8 bits a channel"),
        (encoded(Image.fromarray(DEEP.astype(np.float32)), "TIFF"), "its mode is F, more than 8 bits a channel"),
        (encoded(Image.fromarray(DEEP.astype(np.int32)), "TIFF"), "its mode is I, more than 8 bits a channel"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:20],
)
def test_what_cannot_be_decoded_is_refused_by_name(content: bytes, reason: str) -> None:
    line = refusal(photo(), content, photo("PNG"))
    assert line.startswith(
        "data.path=x: split test: 1 rows whose column image holds no image that can be read: cat/1.jpg ("
    )
    assert reason in line
    assert line.endswith("; accepted: files that Pillow decodes, of at most 8 bits a channel and 89,478,485 pixels")


def test_all_bad_files_are_counted_and_the_first_ones_named() -> None:
    line = refusal(*[photo(), b"x"] * 5)
    assert ": 5 rows whose" in line
    assert "cat/1.jpg (no image at all), cat/3.jpg (no image at all), cat/5.jpg (no image at all) and 2 more;" in line


@pytest.mark.parametrize("size", [(300, 100), (150, 100)])  # where Pillow raises, and where it warns
def test_too_many_pixels_are_refused_by_size(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    line = refusal(photo(), encoded(Image.new("1", size)))
    assert f"cat/1.jpg ({size[0]} x {size[1]} pixels)" in line
    assert line.endswith("at most 8 bits a channel and 10,000 pixels")
    assert Image.MAX_IMAGE_PIXELS == 10_000
    assert not recwarn


def animated() -> bytes:
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def palette_with_transparency() -> bytes:
    return encoded(Image.fromarray(PIXELS).quantize(16), transparency=bytes([0, 128, *[255] * 14]))


@pytest.mark.parametrize(
    "make",
    [
        *(lambda mode=mode, kind=kind: photo(kind, mode) for mode, kind in (("CMYK", "JPEG"), ("L", "JPEG"))),
        *(lambda mode=mode: photo("PNG", mode) for mode in ("1", "LA", "RGBA", "P")),
        animated,
        palette_with_transparency,
        lambda: encoded(Image.new("RGB", (1, 1))),
        lambda: encoded(Image.new("RGB", (1, 3000))),
    ],
)
def test_what_is_decoded_to_eight_bits_a_channel_is_taken_without_a_word(
    make: Callable[[], bytes], recwarn: pytest.WarningsRecorder
) -> None:
    taken = rows(make())
    require_images(taken, "image", "x")
    assert as_rgb(taken[0]["image"]).mode == "RGB"
    assert not recwarn


def test_a_photo_that_says_that_it_lies_on_its_side_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(PIXELS[:, :32])
    (row,) = rows(encoded(lying, "PNG", exif=exif))
    np.testing.assert_array_equal(np.asarray(row["image"]), np.rot90(PIXELS[:, :32], -1))


def test_many_images_are_decoded_once_on_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPART_CACHE", str(tmp_path))
    monkeypatch.setattr(decoding, "_WORTH_KEEPING", 3)
    tried: list[bytes] = []

    def counted(content: bytes) -> None:
        tried.append(content)

    decode = decoding._decoded
    monkeypatch.setattr(decoding, "_decoded", lambda content: counted(content) or decode(content))
    pictures = [encoded(Image.new("L", (1, 1), shade)) for shade in range(4)]
    for part, expected in ((pictures[:2], 2), (pictures[:2], 4), (pictures, 8), (pictures, 8), (pictures[1:], 11)):
        require_images(rows(*part), "image", "x")
        assert len(tried) == expected
    for _ in range(2):
        assert "cat/3.jpg" in refusal(*pictures[:3], b"x")
