"""Folders of rows as people have them: read as they mean them, or refused in one line before anything is trained."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from experiments.data import sources
from experiments.data.splits import Splits
from experiments.errors import SpecError
from schema.sections import Data
from tests.experiments.data.conftest import written
from tests.experiments.data.runs import run_of, source_of

COUNT = 40
TEXTS = [f"text {n}" for n in range(COUNT)]
LABELS = [n % 2 for n in range(COUNT)]
LINES = "".join(
    json.dumps({"sentence": text, "label": label}) + "\n" for text, label in zip(TEXTS, LABELS, strict=True)
)
TABLE = "sentence,label\n" + "".join(f"{text},{label}\n" for text, label in zip(TEXTS, LABELS, strict=True))


def loaded(task: str, folder: Path | str, *overrides: str, protocol: str = "heldout") -> Splits:
    """The rows as a run reads them: what is wrong with the folder first, then its reference, then the rows."""
    data = Data(source="local", path=str(folder))
    source = source_of(task, data, *overrides)
    if errors := source.errors():
        raise SpecError(errors)
    source.reference()
    return sources.load(source, run_of(task, data, *overrides, protocol=protocol))


def refusal(task: str, folder: Path | str, *overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        loaded(task, folder, *overrides)
    assert all("; accepted: " in line and "\n" not in line for line in caught.value.errors)
    return caught.value.errors[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """SST-2 without training rows."""
    (tmp_path / "validation.jsonl").write_text(LINES.replace("text", "another text"))
    return tmp_path


def parquet(folder: Path, name: str = "train.parquet", **columns: Any) -> Path:
    pa.parquet.write_table(pa.table({"sentence": TEXTS, "label": LABELS, **columns}), folder / name)
    return folder


ENCODED: list[Callable[[str], bytes]] = [
    lambda text: text.encode("utf-8-sig"),
    lambda text: text.replace("\n", "\r\n").encode(),
    lambda text: text.replace("\n", "\r").encode(),
]


@pytest.mark.parametrize("encoded", ENCODED)
@pytest.mark.parametrize(
    ("name", "text"),
    [("train.jsonl", LINES), ("train.csv", TABLE), ("train.tsv", TABLE.replace(",", "\t")), ("train.csv.gz", TABLE)],
)
def test_byte_order_marks_and_ends_of_lines(
    folder: Path, name: str, text: str, encoded: Callable[[str], bytes]
) -> None:
    content = encoded(text)
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    splits = loaded("glue/sst2", folder, protocol="best_on_dev")
    assert (splits.train["sentence"][:], splits.train["label"][:]) == (TEXTS, LABELS)


DAMAGED = gzip.compress(LINES.encode())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.jsonl", LINES.encode("utf-16")),
        ("train.csv", TABLE.encode("utf-16-le")),
        ("train.jsonl", LINES.replace("text", "t\xe9xt").encode("latin-1")),
        ("train.jsonl.gz", DAMAGED[:-20]),
        ("train.jsonl.gz", DAMAGED[:60] + b"\xff\xff\xff" + DAMAGED[63:]),
        ("train.csv.gz", b"no gzip"),
        ("train.parquet", b""),
        ("train.parquet", b"PAR1nothingPAR1"),
        ("train.arrow", b"nothing"),
        ("train.csv", b""),
        ("train.jsonl", b"\n\n"),
        ("train.csv", b"sentence,label\n"),
        ("train.csv", b"sentence,label,label\na,0,0\n"),
        ("train.jsonl", b"[" * 100_000),
        ("train.json", b"5"),
    ],
)
def test_a_damaged_or_empty_file_is_one_line(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    assert refusal("glue/sst2", folder).startswith(f"data.path={folder}: ")


@pytest.mark.parametrize(
    "columns",
    [
        {"sentence": pa.array(TEXTS, pa.large_string())},
        {"sentence": pa.array(TEXTS, pa.string_view())},
        {"sentence": pa.array(TEXTS).dictionary_encode()},
        {"sentence": pa.array([text.encode() for text in TEXTS])},
        {"label": pa.array(LABELS, pa.float16())},
        {"label": pa.array([["negative", "Positive"][label] for label in LABELS])},
        {"other": pa.array([[("a", 1)]] * COUNT, pa.map_(pa.string(), pa.int64()))},
        {"idx": pa.array([f"tr-{n}" for n in range(COUNT)])},
    ],
)
def test_every_type_that_means_the_same_is_read(folder: Path, columns: dict[str, Any]) -> None:
    splits = loaded("glue/sst2", parquet(folder, **columns), protocol="best_on_dev")
    assert (splits.train["sentence"][:], splits.train["label"][:]) == (TEXTS, LABELS)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"sentence": [[text] for text in TEXTS]}, "column sentence holds list"),
        ({"sentence": [{"a": text} for text in TEXTS]}, "column sentence holds struct"),
        ({"sentence": LABELS}, "column sentence holds int64"),
        ({"sentence": [b"\xff"] * COUNT}, "column sentence holds binary"),
        ({"sentence": pa.nulls(COUNT)}, "40 rows with null in column sentence"),
        ({"label": [[0]] * COUNT}, "column label holds list"),
        (
            {"label": pa.nulls(COUNT)},
            "40 rows with labels outside what glue/sst2 has, the first at example id 0 (null)",
        ),
        ({"idx": [[n] for n in range(COUNT)]}, "column idx holds list"),
        ({"idx": pa.array([2**63 + n for n in range(COUNT)], pa.uint64())}, "column idx holds uint64"),
        ({"idx": pa.nulls(COUNT)}, "column idx is not one id for each row"),
    ],
)
def test_every_other_type_is_refused(folder: Path, columns: dict[str, Any], line: str) -> None:
    assert refusal("glue/sst2", parquet(folder, **columns)).startswith(f"data.path={folder}: split train: {line}")


def test_a_column_twice_is_refused(folder: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(TEXTS), pa.array(LABELS), pa.array(LABELS)], ["sentence", "label", "label"])
    pa.parquet.write_table(twice, folder / "train.parquet")
    assert "has column label 2 times; accepted: once" in refusal("glue/sst2", folder)


@pytest.mark.parametrize(
    ("one", "other", "line"),
    [
        ({}, {"label": ["negative"] * COUNT}, "hold columns of different types"),
        ({"idx": range(COUNT)}, {"idx": TEXTS}, "hold columns of different types"),
    ],
)
def test_shards_of_two_types_are_refused(folder: Path, one: dict[str, Any], other: dict[str, Any], line: str) -> None:
    parquet(folder, "train-00000-of-00002.parquet", **one)
    parquet(folder, "train-00001-of-00002.parquet", **other)
    assert line in refusal("glue/sst2", folder)


def test_shards_that_hold_the_same_in_two_ways_are_read(folder: Path) -> None:
    parquet(folder, "train-00000-of-00002.parquet", sentence=pa.array(TEXTS).dictionary_encode())
    parquet(folder, "train-00001-of-00002.parquet", label=pa.array(LABELS, pa.float32()))
    splits = loaded("glue/sst2", folder, protocol="best_on_dev")
    assert (splits.train["sentence"][:], splits.train["label"][:]) == (TEXTS * 2, LABELS * 2)


def test_ids_of_two_types_are_all_texts(folder: Path) -> None:
    splits = loaded("glue/sst2", parquet(folder, idx=pa.array([f"tr-{n}" for n in range(COUNT)])))
    assert {rows.features["example_id"].dtype for rows in splits.parts.values()} == {"string"}
    assert splits.tests["test"]["example_id"][:] == [str(n) for n in range(COUNT)]
    assert splits.selection["example_id"][0].startswith("tr-")
    assert splits.train.features["label"].names == ["negative", "positive"]


@pytest.mark.parametrize("path", ["/" + "x" * 5000, "/dev/null", "nowhere"])
def test_a_path_that_leads_nowhere_is_one_line(path: str) -> None:
    assert "no such folder" in refusal("glue/sst2", path)


@pytest.mark.parametrize(
    ("task", "names"), [("glue/sst2", ["data/"]), ("glue/sst2", ["sst2/"]), ("math/gsm8k", ["main/", "gsm8k/data/"])]
)
def test_the_layouts_of_repositories_are_found(tmp_path: Path, task: str, names: Sequence[str]) -> None:
    test = run_of(task, Data(source="embedded")).task.splits["test"]
    for place in names:
        folder = tmp_path / place.replace("/", "-")
        written(folder, f"{place}train-00000-of-00001.jsonl", f"{place}{test}-00000-of-00001.jsonl", content=LINES)
        source = source_of(task, Data(source="local", path=str(folder)), "++task.columns={}")
        assert (source.total("train"), source.total("test")) == (COUNT, COUNT)


def test_columns_go_by_the_names_that_the_user_gives(folder: Path) -> None:
    own = pd.DataFrame({"Review": TEXTS, "Liked": ["No", "Yes"] * 20, "sentence": ["not this one"] * COUNT})
    for split in ("train", "dev"):
        own.to_csv(folder / f"{split}.csv", index=False)
    (folder / "validation.jsonl").unlink()
    renamed = ["++task.columns={sentence: Review, label: Liked}", "task.classes=[no,yes]"]
    splits = loaded("glue/sst2", folder, *renamed)
    assert splits.tests["test"]["sentence"][:] == TEXTS
    assert splits.tests["test"]["label"][:] == LABELS
    source = source_of("glue/sst2", Data(source="local", path=str(folder)), *renamed)
    names = {"sentence": "Review", "label": "Liked"}
    assert source.reference()["columns"] == {"train": names, "validation": names}
    line = refusal("glue/sst2", folder, "++task.columns={sentence: Reviews, label: Liked}")
    assert "has no column Reviews; it has Review, Liked, sentence; accepted: " in line


def test_only_columns_of_the_task_can_be_renamed() -> None:
    with pytest.raises(
        SpecError, match=r"task\.columns\.text=sentence: no column of the task; accepted: sentence, label"
    ):
        run_of("glue/sst2", Data(source="embedded"), "++task.columns={text: sentence}")


def test_generated_rows_go_by_no_other_names() -> None:
    renamed = source_of("glue/sst2", Data(source="embedded"), "++task.columns={sentence: text}")
    assert renamed.errors() == [
        "task.columns.sentence=text: generated rows have no other names; accepted: none, or data=local"
    ]


GLUE = {
    "cola": ("", "gj04\t1\t\t{0}", 1),
    "sst2": ("sentence\tlabel", "{0}\t1", 1),
    "mrpc": ("\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String", "1\t5\t6\t{0}\t{0}", 1),
    "rte": ("index\tsentence1\tsentence2\tlabel", "{1}\t{0}\t{0}\tnot_entailment", 1),
    "qnli": ("index\tquestion\tsentence\tlabel", "{1}\t{0}\t{0}\tentailment", 0),
    "qqp": ("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "{1}\t1\t2\t{0}\t{0}\t1", 1),
    "wnli": ("index\tsentence1\tsentence2\tlabel", "{1}\t{0}\t{0}\t1", 1),
    "stsb": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        "{1}\tnews\tx\t2012\t0001\tnone\tnone\t{0}\t{0}\t3.800",
        pytest.approx(3.8),
    ),
}


@pytest.mark.parametrize("name", GLUE)
def test_the_tab_separated_files_of_glue_are_read(tmp_path: Path, name: str) -> None:
    header, row, label = GLUE[name]
    texts = ['" The pie , he said', 'she said "no"', "plain", '"']
    for split, more in (("train", ""), ("dev", " .")):
        lines = [row.format(text + more, number) for number, text in enumerate(texts * 10)]
        (tmp_path / f"{split}.tsv").write_text("\n".join([header, *lines][not header :]), encoding="utf-8")
    splits = loaded(f"glue/{name}", tmp_path, protocol="best_on_dev")
    task = run_of(f"glue/{name}", Data(source="embedded")).task
    assert splits.selection[task.inputs[-1]][:4] == [f"{text} ." for text in texts]
    assert splits.train[task.label][:] == [label] * 40


def test_the_scores_that_glue_hides_are_refused(tmp_path: Path) -> None:
    rows = [{"sentence1": f"a {n}", "sentence2": "b", "label": -1.0} for n in range(20)]
    written(tmp_path, "train.jsonl", "validation.jsonl", content="\n".join(map(json.dumps, rows)))
    line = refusal("glue/stsb", tmp_path)
    assert (
        "20 rows with labels outside what glue/stsb has, the first at example id 0 (-1.0); accepted: numbers from 0"
        in line
    )


def test_rows_that_are_there_twice_and_labels_that_are_all_one_are_said(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(LINES + LINES.splitlines()[0])
    (tmp_path / "validation.jsonl").write_text("".join(line + "\n" for line in LINES.splitlines()[:10:2]))
    where = f"data.path={tmp_path}: "
    assert list(loaded("glue/sst2", tmp_path).notes) == [
        where + "1 of the 41 rows of train repeat another of its rows",
        where + "5 of the 5 rows of test are also in train",
        where + "all 5 rows of test have the label negative",
    ]
    said = loaded("glue/sst2", tmp_path, protocol="best_on_dev").notes
    assert where + "5 of the 5 rows of selection are also in train" in said


def test_what_truth_values_mean_is_said_once(folder: Path) -> None:
    (folder / "train.csv").write_text(TABLE.replace(",0", ",False").replace(",1", ",True"))
    (folder / "validation.jsonl").write_text('{"sentence": "a", "label": true}\n{"sentence": "b", "label": false}\n')
    splits = loaded("glue/sst2", folder, protocol="best_on_dev")
    assert (splits.train["label"][:], splits.selection["label"][:]) == (LABELS, [1, 0])
    assert list(splits.notes) == [f"data.path={folder}: label false is read as negative, true as positive"]


def test_another_split_is_offered_where_one_is_missing(folder: Path) -> None:
    line = refusal("glue/sst2", folder)
    assert f"no file of split train in {folder}, which has validation.jsonl; accepted: " in line
    assert line.endswith("; or task.splits.train=SPLIT")


def test_rows_that_are_as_they_should_be_are_not_spoken_of(folder: Path) -> None:
    assert list(loaded("glue/sst2", parquet(folder)).notes) == []
    generated = Data(source="embedded", train_rows=50, test_rows=2)
    assert list(sources.load(source_of("glue/sst2", generated), run_of("glue/sst2", generated)).notes) == []


@pytest.mark.parametrize("name", ["mrpc"])
def test_real_rows_are_the_same_as_pandas_and_as_json(shared_data: Path, tmp_path: Path, name: str) -> None:
    for ending in ("csv", "tsv", "json"):
        (tmp_path / ending).mkdir()
    for split in ("train", "validation"):
        frame = pd.read_parquet(shared_data / "glue" / name / f"{split}.parquet")
        frame.to_csv(tmp_path / "csv" / f"{split}.csv", index=False)
        frame.to_csv(tmp_path / "tsv" / f"{split}.tsv", index=False, sep="\t")
        frame.to_json(tmp_path / "json" / f"{split}.json", double_precision=15)
    expected = loaded(f"glue/{name}", shared_data)
    for folder in ("csv", "tsv", "json"):
        found = loaded(f"glue/{name}", tmp_path / folder)
        assert [rows.to_dict() for rows in found.parts.values()] == [rows.to_dict() for rows in expected.parts.values()]
