"""Which files are a split, and whether they are all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.data import shards


@pytest.mark.parametrize(
    "names",
    [
        ["train.parquet"],
        ["train-00000-of-00001.parquet"],
        ["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"],
        ["train-00000-of-00002-0123456789abcdef.parquet", "train-00001-of-00002-0123456789abcdef.parquet"],
        ["train-0.csv", "train-1.csv"],
        ["0000.parquet", "0001.parquet"],
        ["glue-train-00000-of-00002.arrow", "glue-train-00001-of-00002.arrow"],
    ],
)
def test_whole_splits(names: list[str]) -> None:
    assert shards.fault(names) is None


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["train-00000-of-00002.parquet"], "incomplete (of shards 0 to 1 these are missing: 1)"),
        (
            ["train-00000-of-00003.csv", "train-00002-of-00003.csv"],
            "incomplete (of shards 0 to 2 these are missing: 1)",
        ),
        (["train.parquet", "train-00000-of-00001.parquet"], "overlap (train.parquet, train-00000-of-00001.parquet)"),
        (["train.jsonl", "train-0.jsonl", "train-1.jsonl"], "overlap"),
        (["train-00000-of-00001.parquet", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet"], "overlap"),
        (["train-0.parquet", "train-00000-of-00001.parquet"], "overlap"),
        (["train-0.parquet", "train-2.parquet"], "incomplete (of shards 0 to 2 these are missing: 1)"),
        (["train-00000-of-00001.parquet", "train-00001-of-00001.parquet"], "beyond their number: 1"),
        (["train-00000-of-00001-0123456789abcdef.arrow", "train-00000-of-00001-fedcba9876543210.arrow"], "twice"),
        (["a-train.arrow", "b-train.arrow"], "overlap"),
        (["train-00000-of-99999999999.parquet"], "and 99999999992 more"),
    ],
)
def test_what_is_no_whole_split(names: list[str], why: str) -> None:
    assert why in str(shards.fault(names))


@pytest.mark.parametrize(
    ("name", "split", "holds"),
    [
        ("train.csv.gz", "train", True),
        ("train-00003-of-00009.tsv", "train", True),
        ("glue-train.arrow", "train", True),
        ("glue-train.parquet", "train", False),
        ("train-extra.parquet", "train", False),
        ("validation_matched.json", "validation", False),
        ("dev.tsv", "validation", False),
    ],
)
def test_the_split_of_a_file_is_in_its_name(name: str, split: str, holds: bool) -> None:
    assert shards.holds_split(Path(name), split) is holds


def test_endings_are_those_of_rows() -> None:
    names = ["a.CSV", "a.jsonl.gz", "a.parquet.gz", "a.zip", ".a.csv", "a.arrow"]
    assert [shards.ending(Path(name)) for name in names] == [".csv", ".jsonl.gz", "", "", "", ".arrow"]
