"""Where the files of a split are, in folders as people and libraries lay them out."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from experiments.data import files, layouts
from tests.experiments.data.conftest import written


def found(folder: Path, split: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in layouts.local_files(folder, split)]


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", ["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"]),
        ("train", ["train/0000.parquet", "train/0001.parquet"]),
        ("train", ["train/rows.csv"]),
        ("validation", ["dev.tsv"]),
        ("validation", ["val.csv.gz"]),
        ("validation", ["valid/0.parquet"]),
        ("validation_matched", ["dev_matched.tsv"]),
    ],
)
def test_what_is_found(tmp_path: Path, split: str, names: list[str]) -> None:
    written(tmp_path, *names, "README.md", "test.csv", ".train.csv", "train.zip")
    assert found(tmp_path, split) == names


@pytest.mark.parametrize(
    ("split", "names", "why"),
    [
        ("train", ["train.csv", "train.jsonl"], "is there more than once (train.csv, train.jsonl)"),
        ("train", ["train.parquet", "train/0.parquet"], "is there more than once (train.parquet, train/0.parquet)"),
        ("train", ["train.csv", "train.csv.gz"], "is there more than once"),
        ("train", ["train/a.csv", "train/b.csv"], "overlap (a.csv, b.csv)"),
        ("validation", ["dev.tsv", "validation.tsv"], "is there more than once (validation.tsv, dev.tsv)"),
        ("train", ["train-00001-of-00002.csv"], "incomplete"),
    ],
)
def test_what_is_there_twice_or_in_part_is_refused(tmp_path: Path, split: str, names: list[str], why: str) -> None:
    with pytest.raises(files.FileError) as refusal:
        found(written(tmp_path, *names), split)
    assert why in str(refusal.value)


def test_a_split_is_a_name_and_no_pattern(tmp_path: Path) -> None:
    written(tmp_path, "train.csv", "[ab].csv")
    assert (found(tmp_path, "*"), found(tmp_path, "[ab]"), found(tmp_path, "trai?")) == ([], ["[ab].csv"], [])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A data set that the `datasets` library saved, with training rows in two files."""
    rows = datasets.Dataset.from_dict({"sentence": ["a", "b", "c", "d"], "label": [0, 1, 0, 1]})
    datasets.DatasetDict(train=rows, validation=rows).save_to_disk(tmp_path, num_shards={"train": 2, "validation": 1})
    return tmp_path


def test_what_save_to_disk_writes_is_read(saved: Path) -> None:
    parts = layouts.local_files(saved, "train")
    assert [path.name for path in parts] == ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    assert [
        files.RowFile(path).read(["sentence"], ["label"], "label")[0]["sentence"].to_pylist() for path in parts
    ] == [
        ["a", "b"],
        ["c", "d"],
    ]


@pytest.mark.parametrize("state", ["[]", "{", '{"_data_files": [{}]}', '{"_data_files": []}'])
def test_a_damaged_list_of_saved_files_is_refused(saved: Path, state: str) -> None:
    (saved / "train" / "state.json").write_text(state)
    with pytest.raises(files.FileError, match="train"):
        layouts.local_files(saved, "train")


def test_a_saved_file_that_is_gone_is_named(saved: Path) -> None:
    (saved / "train" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(files.FileError, match=r"train lacks data-00001-of-00002\.arrow"):
        layouts.local_files(saved, "train")
