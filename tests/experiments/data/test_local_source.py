"""What a folder's rows are, for a run's identity: every change that can change a result, and no other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from experiments.configuration.digests import file_digest
from experiments.data import local_source, references, sources
from experiments.data.source import Source
from experiments.errors import SpecError
from schema.sections import Data
from tests.experiments.data.runs import run_of, source_of

COUNT = {"train": 6, "test": 3}
CLASSES = ["cat", "dog"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Train and test images of two classes, each of another shade of grey."""
    shade = iter(range(256))
    for split, count in COUNT.items():
        for name in CLASSES:
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                picture = Image.fromarray(np.full((4, 4), next(shade), np.uint8))
                picture.save(tmp_path / "images" / split / name / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """SST-2 in three files."""
    folder = tmp_path / "text"
    folder.mkdir()
    for name, first, rows in (("train-0.parquet", 0, 30), ("train-1.parquet", 30, 10), ("validation.parquet", 40, 10)):
        numbers = range(first, first + rows)
        columns = {"sentence": [f"s{n}" for n in numbers], "label": [n % 2 for n in numbers], "idx": list(numbers)}
        pd.DataFrame(columns).to_parquet(folder / name, index=False)
    return folder


def of(task: str, folder: Path, *overrides: str) -> Source:
    return source_of(task, Data(source="local", path=str(folder)), *overrides)


def reference(task: str, folder: Path) -> dict[str, Any]:
    return of(task, folder).reference()


def moved_to_another_class(folder: Path) -> None:
    (folder / "test" / "cat" / "0.png").rename(folder / "test" / "dog" / "9.png")


def renamed(folder: Path) -> None:
    (folder / "train" / "cat" / "0.png").rename(folder / "train" / "cat" / "9.png")


def exchanged(folder: Path) -> None:
    one, other = folder / "train" / "cat" / "0.png", folder / "train" / "dog" / "0.png"
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def class_renamed(folder: Path) -> None:
    for split in COUNT:
        (folder / split / "dog").rename(folder / split / "eel")


def class_without_images(folder: Path) -> None:
    for split in COUNT:
        (folder / split / "ant").mkdir()


def left_out(folder: Path) -> None:
    (folder / "test" / "dog" / "0.png").unlink()


@pytest.mark.parametrize(
    "change", [moved_to_another_class, renamed, exchanged, class_renamed, class_without_images, left_out]
)
def test_what_changes_the_rows_of_an_image_folder_changes_its_reference(
    images: Path, change: Callable[[Path], None]
) -> None:
    before = reference("vision/folder", images)
    assert before["classes"] == CLASSES
    assert {split: part["files"] for split, part in before["splits"].items()} == {"train": 12, "test": 6}
    change(images)
    assert reference("vision/folder", images) != before


def test_neither_the_place_of_a_folder_nor_what_else_is_in_it_is_part_of_a_reference(
    images: Path, text: Path, tmp_path: Path
) -> None:
    for task, folder in (("vision/folder", images), ("glue/sst2", text)):
        before, elsewhere = reference(task, folder), tmp_path / "elsewhere" / task
        shutil.copytree(folder, elsewhere)
        (elsewhere / "README.md").write_text("about")
        assert reference(task, elsewhere) == before


def test_a_reference_is_short_whatever_the_number_of_files(images: Path) -> None:
    before = len(str(reference("vision/folder", images)))
    for number in range(300):
        shutil.copy(images / "train" / "cat" / "0.png", images / "train" / "cat" / f"copy-{number}.png")
    assert len(str(reference("vision/folder", images))) < before + 5


@pytest.mark.parametrize("name", ["train-0.parquet", "train-1.parquet", "validation.parquet"])
def test_every_shard_counts(text: Path, name: str) -> None:
    before = reference("glue/sst2", text)
    rows = pd.read_parquet(text / name)
    rows.loc[3, "label"] = 1 - rows.loc[3, "label"]
    rows.to_parquet(text / name, index=False)
    assert reference("glue/sst2", text) != before


def test_files_are_read_once_in_a_process(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return file_digest(path)

    monkeypatch.setattr(references, "file_digest", counted)
    first = reference("glue/sst2", text)
    assert sorted(read) == ["train-0.parquet", "train-1.parquet", "validation.parquet"]
    assert reference("glue/sst2", text) == first
    assert len(read) == 3
    os.utime(text / "train-0.parquet", (1, 1))
    assert reference("glue/sst2", text) == first
    assert len(read) == 5  # both files of the split


def test_a_folder_is_looked_for_once(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    holds = local_source._holds

    def counted(folder: Path, split: str) -> bool:
        looked.append(split)
        return holds(folder, split)

    monkeypatch.setattr(local_source, "_holds", counted)
    data = Data.model_validate({"source": "local", "path": str(text), "train_rows": 20, "test_rows": 5})
    source, run = source_of("glue/sst2", data), run_of("glue/sst2", data)
    assert source.errors() == []
    source.reference()
    sources.subset_name(source, run)
    sources.load(source, run)
    assert looked == ["train"]


def test_the_reference_of_a_split_that_is_not_there_is_one_line(text: Path) -> None:
    (text / "validation.parquet").unlink()
    with pytest.raises(SpecError, match="no file of split validation in") as refusal:
        reference("glue/sst2", text)
    assert len(refusal.value.errors) == 1


def test_records_of_identity_1_are_compared_by_all_that_they_say(text: Path) -> None:
    names = {"train": ["train-0.parquet", "train-1.parquet"], "validation": ["validation.parquet"]}
    then = {"sha256": {split: [file_digest(text / name) for name in files] for split, files in names.items()}}
    source = of("glue/sst2", text)
    assert source.matches(then)
    assert source.matches(source.reference())
    then["sha256"]["train"].reverse()
    assert not source.matches(then)
    (text / "validation.parquet").write_bytes((text / "train-1.parquet").read_bytes())
    then["sha256"]["train"].reverse()
    assert not of("glue/sst2", text).matches(then)


def test_the_classes_of_a_folder_are_those_of_its_training_images(images: Path) -> None:
    source = of("vision/folder", images)
    assert source.classes == CLASSES
    assert source.rows("test").features["label"].names == CLASSES
    assert source.rows("test")["example_id"][:] == [f"{name}/{number}.png" for name in CLASSES for number in range(3)]


def test_a_number_of_classes_takes_the_names_of_the_training_images(images: Path) -> None:
    source = of("vision/folder", images, "task.classes=2")
    assert (source.classes, source.errors()) == (2, [])
    (images / "test" / "cat").rename(images / "test" / "elk")
    (extra, missing) = of("vision/folder", images, "task.classes=2").errors()
    assert "classes that are not the task's (elk)" in extra
    assert "lacks classes (cat)" in missing
    (line, *_) = of("vision/folder", images, "task.classes=37").errors()
    assert line == f"data.path={images}: split train in {images} has 2 classes; accepted: 37"


def test_the_classes_of_no_folder_are_one_line(text: Path) -> None:
    with pytest.raises(SpecError, match=r"no folder train in .* with a folder for each class; accepted: SPLIT/CLASS"):
        of("vision/folder", text, "task.splits.test=validation").classes  # noqa: B018  a property that raises
