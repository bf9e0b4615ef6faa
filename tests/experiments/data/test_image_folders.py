"""Folders of images as people have them: what is an image, what is a class, and where the splits are."""

from __future__ import annotations

import os
import shutil
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.data import sources
from experiments.data.source import Source
from experiments.errors import SpecError
from schema.sections import Data
from tests.experiments.data.runs import run_of, source_of

TRAIN, TEST = 6, 3
COMPOSED = unicodedata.normalize("NFC", "café")
DECOMPOSED = unicodedata.normalize("NFD", "café")


def picture(path: Path, kind: str | None = None) -> None:
    """A small image of a shade of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.RandomState(zlib.crc32(str(path).encode())).randint(0, 256, (4, 4, 3), np.uint8)).save(
        path, kind
    )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Train and test images of two classes."""
    folder = tmp_path / "images"
    for split, count in (("train", TRAIN), ("test", TEST)):
        for name in ("cat", "dog"):
            for number in range(count):
                picture(folder / split / name / f"{number}.png")
    return folder


def of(folder: Path, *overrides: str) -> Source:
    return source_of("vision/folder", Data(source="local", path=str(folder)), *overrides)


def counts(source: Source) -> tuple[int | None, int | None]:
    assert source.errors() == []
    source.reference()
    return source.total("train"), source.total("test")


def refusal(source: Source) -> str:
    (line,) = source.errors()
    assert line.startswith("data.path=")
    assert "; accepted: " in line
    assert line.isprintable()
    return line


@pytest.mark.parametrize(
    "name",
    [
        "train/cat/.ipynb_checkpoints/0-checkpoint.png",
        "test/dog/deep/.anything/0.png",
        "test/.git/0.png",
        "train/__MACOSX/cat/0.png",
        "train/cat/@eaDir/0.png",
        "train/cat/._0.png",
        "test/cat/.hidden.jpg",
        "train/cat/Thumbs.db",
        "train/cat/desktop.ini",
        "test/.DS_Store",
    ],
)
def test_what_systems_and_programs_leave_behind_is_no_data(images: Path, name: str) -> None:
    before = of(images).reference()
    (images / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(images / "train" / "cat" / "0.png", images / name)
    source = of(images)
    assert counts(source) == (2 * TRAIN, 2 * TEST)
    assert source.reference() == before
    assert source.notes == []


@pytest.mark.parametrize("ending", ["jfif", "JPE", "avif", "webp", "tga", "qoi", "jp2", "apng", "pnm", "ico"])
def test_every_ending_that_pillow_decodes_is_read(images: Path, ending: str) -> None:
    picture(images / "train" / "cat" / f"0.{ending}", "PNG")
    assert counts(of(images)) == (2 * TRAIN + 1, 2 * TEST)


def test_files_that_are_not_read_are_counted_in_one_note(images: Path) -> None:
    for name in ("cat/0.heic", "cat/1.HEIC", "dog/list.txt", "dog/deep/without", "dog/movie.mpg", "labels.csv"):
        (images / "train" / name).parent.mkdir(exist_ok=True)
        (images / "train" / name).write_bytes(b"x")
    source = of(images)
    assert counts(source) == (2 * TRAIN, 2 * TEST)
    inside, outside = source.notes
    assert (
        "5 files are not read, being no images by their endings (.heic 2, .mpg 1, .txt 1, without an ending 1)"
        in inside
    )
    assert outside.endswith("1 files are not read, being in no class (labels.csv)")


def test_links_to_files_and_folders_are_followed(images: Path, tmp_path: Path) -> None:
    before = of(images).rows("test")["example_id"][:]
    store = tmp_path / "store"
    shutil.move(images / "test" / "dog", store)
    (images / "test" / "dog").symlink_to(store)
    shutil.move(images / "test" / "cat" / "0.png", tmp_path / "elsewhere.png")
    (images / "test" / "cat" / "0.png").symlink_to(tmp_path / "elsewhere.png")
    assert of(images).rows("test")["example_id"][:] == before


@pytest.mark.parametrize(("link", "target"), [("cat/self", "."), ("cat/up", ".."), ("dog/far", "../../..")])
def test_a_link_to_a_folder_that_it_lies_in_is_refused(images: Path, link: str, target: str) -> None:
    (images / "train" / link).symlink_to(target)
    assert f"{images / 'train' / link} is a link to a folder that it lies in" in refusal(of(images))


@pytest.mark.parametrize("name", ["cat/9.png", "eel", "cat/deep"])
def test_a_link_to_nothing_is_refused(images: Path, name: str) -> None:
    (images / "test" / name).symlink_to("nowhere")
    assert f"{images / 'test' / name} is no file, or a link to nothing" in refusal(of(images))


def without_a_test_image(folder: Path) -> None:
    for path in (folder / "test" / "dog").iterdir():
        path.unlink()


def without_a_training_image(folder: Path) -> None:
    (folder / "train" / "dog" / "deep").mkdir()
    for path in (folder / "train" / "dog").glob("*.png"):
        path.rename(path.with_suffix(".heic"))


@pytest.mark.parametrize("change", [without_a_test_image, without_a_training_image])
def test_a_class_without_an_image_is_refused(images: Path, change: Callable[[Path], None]) -> None:
    change(images)
    line = refusal(of(images))
    assert "has classes without an image (dog)" in line
    assert (", but files of other endings (.heic 6)" in line) == (change is without_a_training_image)


def test_accents_may_be_written_in_two_ways(images: Path) -> None:
    (images / "train" / "dog").rename(images / "train" / DECOMPOSED)
    (images / "test" / "dog").rename(images / "test" / COMPOSED)
    source = of(images)
    assert counts(source) == (2 * TRAIN, 2 * TEST)
    assert source.classes == [COMPOSED, "cat"]
    assert source.rows("train")["label"][:TRAIN] == [0] * TRAIN
    shutil.copytree(images / "test" / COMPOSED, images / "test" / DECOMPOSED)
    assert "has two of one name, their accents written in two ways" in refusal(of(images))


def test_a_name_that_is_not_utf_8_is_refused_in_plain_text(images: Path) -> None:
    for name in (b"train/cat/caf\xe9.png", b"train/dog/\xff.png"):
        shutil.copy(images / "train" / "cat" / "0.png", os.fsencode(images) + b"/" + name)
    line = refusal(of(images))
    assert r"has names that are not UTF-8 (cat/caf\udce9.png, dog/\udcff.png)" in line
    shutil.move(os.fsencode(images) + b"/train/cat", os.fsencode(images) + b"/train/c\xe4t")
    assert all(line.isprintable() for line in of(images).errors())


def test_classes_that_differ_in_capitals_alone_are_said(images: Path) -> None:
    for split in ("train", "test"):
        picture(images / split / "Cat" / "0.png")
    source = of(images)
    assert counts(source) == (2 * TRAIN + 1, 2 * TEST + 1)
    assert source.classes == ["Cat", "cat", "dog"]
    assert all("the names of classes differ in capitals or spaces alone (Cat, cat)" in note for note in source.notes)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Val", "Test", "testing"])
def test_the_usual_names_of_a_split_are_read_and_said(images: Path, name: str) -> None:
    (images / "test").rename(images / name)
    source = of(images)
    assert counts(source) == (2 * TRAIN, 2 * TEST)
    assert source.notes == [f"data.path={images}: {name} is read as split test"]


def test_validation_images_beside_a_test_are_left_alone_and_said(images: Path) -> None:
    shutil.copytree(images / "test", images / "val")
    source = of(images)
    assert counts(source) == (2 * TRAIN, 2 * TEST)
    (note,) = source.notes
    assert "val is not read (task.splits.selection=val selects the epoch by it)" in note


def test_no_folder_is_two_splits(images: Path) -> None:
    (images / "test").rename(images / "val")
    assert "no file of split test" in refusal(of(images, "+task.splits.selection=validation"))
    shutil.copytree(images / "val", images / "dev")
    line = refusal(of(images))
    assert "no file of split test in" in line
    assert "it has the folders dev, train, val; task.splits.train=NAME and task.splits.test=NAME choose" in line


def test_classes_without_splits_are_refused_with_what_to_do(images: Path) -> None:
    assert "no split of vision/folder in" in refusal(of(images / "train"))
    assert "it has the folders cat, dog, with images in no split: move them to train/CLASS" in refusal(
        of(images / "train")
    )


def test_images_that_stand_in_train_and_test_are_counted(images: Path) -> None:
    for number in range(2):
        shutil.copy(images / "train" / "cat" / f"{number}.png", images / "test" / "dog" / f"copy-{number}.png")
    data = Data(source="local", path=str(images))
    notes = sources.load(of(images), run_of("vision/folder", data)).notes
    assert notes == [f"data.path={images}: 2 of the {2 * TEST + 2} rows of test are also in train"]


def test_a_split_may_be_a_path_below_the_folder(images: Path) -> None:
    for name in ("train", "test"):
        shutil.move(images / name, images / f"seg_{name}" / name)
    source = of(images, "task.splits.train=seg_train/train", "task.splits.test=seg_test/test")
    assert counts(source) == (2 * TRAIN, 2 * TEST)


def test_images_deep_in_a_class_are_read_in_the_order_of_their_names(images: Path) -> None:
    picture(images / "test" / "cat" / "1" / "b.png")
    picture(images / "test" / "cat" / "0-1.png")
    names = of(images).rows("test")["example_id"][:]
    assert names[:5] == ["cat/0-1.png", "cat/0.png", "cat/1/b.png", "cat/1.png", "cat/2.png"]


def test_rows_of_a_folder_are_its_files_in_pieces(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sources.fingerprint(of(images).rows("train"))
    monkeypatch.setattr("experiments.data.image_folders._CHUNK", 5)
    assert sources.fingerprint(of(images).rows("train")) == whole
    assert of(images).table("train")["image"].num_chunks == 3


def test_a_folder_that_is_gone_meanwhile_is_one_line(images: Path) -> None:
    source = of(images)
    assert source.errors() == []
    (images / "test" / "cat" / "0.png").unlink()
    with pytest.raises(SpecError, match=r"0\.png cannot be read \(No such file or directory\)"):
        source.rows("test")
