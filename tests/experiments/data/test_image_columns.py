"""Tables of images: the bytes of files are read however they are held, and anything else is refused in one line."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from experiments.data.source import Source
from experiments.errors import SpecError
from schema.sections import Data
from tests.experiments.data.runs import source_of

ROWS = 20


def file(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


FILES = [file(number) for number in range(ROWS)]


def structs(**fields: list[object]) -> pa.Array:
    return pa.array([dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)])


def source(folder: Path, column: pa.Array) -> Source:
    for split in ("train", "test"):
        pq.write_table(pa.table({"image": column, "label": [n % 10 for n in range(ROWS)]}), folder / f"{split}.parquet")
    return source_of("vision/cifar10", Data(source="local", path=str(folder)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: pa.array(FILES, pa.binary()),
        lambda: pa.array(FILES, pa.large_binary()),
        lambda: structs(bytes=FILES),
        lambda: structs(bytes=FILES, path=[None] * ROWS),
        lambda: structs(path=[f"{n}.png" for n in range(ROWS)], bytes=FILES),
        lambda: structs(width=[4] * ROWS, bytes=FILES, path=["x.png"] * ROWS),
    ],
)
def test_bytes_are_images_however_they_are_held(make: Callable[[], pa.Array], tmp_path: Path) -> None:
    found = source(tmp_path, make())
    assert found.errors() == []
    rows = found.rows("test")
    assert [image.getpixel((0, 0)) for image in rows["image"][:]] == [(number, 0, 0) for number in range(ROWS)]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda: structs(bytes=[None, *FILES[1:]], path=["0.png"] * ROWS),
            "1 rows with null in column image, the first",
        ),
        (lambda: structs(bytes=[None] * ROWS, path=["0.png"] * ROWS), f"{ROWS} rows with null in column image"),
        (lambda: pa.nulls(ROWS), f"{ROWS} rows with null in column image"),
        (lambda: pa.array([None, *FILES[1:]]), "1 rows with null in column image, the first at example id 0"),
        (lambda: pa.array(["a.png"] * ROWS), "column image holds string; accepted: the bytes of an image file"),
        (lambda: structs(path=["a.png"] * ROWS), "column image holds struct<path: string>; accepted: the bytes"),
        (lambda: structs(bytes=["aGVsbG8="] * ROWS), "column image holds struct<bytes: string>; accepted: the bytes"),
        (lambda: pa.array([[0, 1, 2]] * ROWS), "column image holds list<"),
        (lambda: pa.array(range(ROWS)), "column image holds int64; accepted: the bytes"),
    ],
)
def test_a_column_of_anything_else_is_one_line(make: Callable[[], pa.Array], line: str, tmp_path: Path) -> None:
    found = source(tmp_path, make())
    assert found.errors() == []
    with pytest.raises(SpecError) as refusal:
        found.rows("train")
    (said,) = refusal.value.errors
    assert said.startswith(f"data.path={tmp_path}: split train: {line}")
    assert "; accepted: " in said
