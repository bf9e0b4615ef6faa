"""Rows from a folder and from the generator: found, checked, split, and the same rows wherever they come from."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from experiments.data import files, layouts, sources
from experiments.data.splits import Splits, cut, draw, selection_fraction
from experiments.embedded.tasks import TASKS
from experiments.errors import SpecError
from experiments.families import FAMILIES, generator_of
from schema.sections import Data, Task
from tests.experiments.data.runs import run_of, source_of

GOLDEN_SELECTION = [0, 1, 6, 7, 24, 30, 31, 37, 42, 49, 50, 59]
GOLDEN_SUBSET = [27, 231, 298, 306, 553, 672, 706, 859, 971, 993]


def local(path: Path, **changes: int) -> Data:
    return Data.model_validate({"source": "local", "path": str(path), **changes})


def errors(task: str, data: Data, *overrides: str) -> list[str]:
    return source_of(task, data, *overrides).errors()


def load(task: str, data: Data, protocol: str = "heldout") -> Splits:
    return sources.load(source_of(task, data), run_of(task, data, protocol=protocol))


def subset_name(task: str, data: Data) -> str:
    return sources.subset_name(source_of(task, data), run_of(task, data))


def rows(count: int, start: int = 0) -> dict[str, list]:
    """Rows with the traps of text formats: quotes, commas, NA, numbers, other scripts."""
    texts = ['a "quoted" film', "one, two", "NA", "null", "12", "Ünïcode — 東京", "it 's\u2028fine"]
    numbers = range(start, start + count)
    return {
        "sentence": [f"{texts[n % len(texts)]}" for n in numbers],
        "label": [n % 2 for n in numbers],
        "idx": [10 * n for n in numbers],
    }


def write(path: Path, columns: dict[str, list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    records = [json.dumps(record) for record in table.to_pylist()]
    match "".join(path.suffixes):
        case ".parquet":
            pa.parquet.write_table(table, path)
        case ".csv":
            pa.csv.write_csv(table, path)
        case ".tsv":
            lines = ["\t".join(map(str, values)) for values in [columns, *zip(*columns.values(), strict=True)]]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        case ".jsonl":
            path.write_text("\n".join(records) + "\n", encoding="utf-8")
        case ".jsonl.gz":
            path.write_bytes(gzip.compress("\n".join(records).encode()))
        case ".json":
            path.write_text(f"[{','.join(records)}]", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "train.parquet", rows(40))
    write(tmp_path / "validation.parquet", rows(10, start=100))
    return tmp_path


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "jsonl.gz"])
def test_the_same_rows_have_the_same_fingerprint_in_every_format(tmp_path, folder, ending):
    other = tmp_path / "other"
    write(other / f"train.{ending}", rows(40))
    write(other / f"validation.{ending}", rows(10, start=100))
    assert errors("glue/sst2", local(other)) == []
    expected = load("glue/sst2", local(folder))
    found = load("glue/sst2", local(other))
    assert found.fingerprints() == expected.fingerprints()
    assert found.train["sentence"][:] == expected.train["sentence"][:]


def test_a_changed_row_changes_the_fingerprint_and_the_reference(folder):
    before = load("glue/sst2", local(folder), "best_on_dev").fingerprints()
    reference = source_of("glue/sst2", local(folder)).reference()
    changed = rows(40)
    changed["sentence"][7] += "!"
    write(folder / "train.parquet", changed)
    after = load("glue/sst2", local(folder), "best_on_dev").fingerprints()
    assert (after["train"] != before["train"], after["selection"] == before["selection"]) == (True, True)
    assert source_of("glue/sst2", local(folder)).reference() != reference


def test_shards_are_read_in_order(folder, tmp_path):
    sharded = tmp_path / "sharded"
    write(sharded / "train-00000-of-00002.parquet", rows(15))
    write(sharded / "train-00001-of-00002.parquet", rows(25, start=15))
    write(sharded / "validation.parquet", rows(10, start=100))
    one, other = (load("glue/sst2", local(path)) for path in (folder, sharded))
    assert one.fingerprints() == other.fingerprints()


def test_the_arrow_cache_of_the_datasets_library_is_read(tmp_path):
    table = pa.table(rows(5))
    with pa.OSFile(str(tmp_path / "glue-train.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    (path,) = layouts.split_files(tmp_path, "train")
    assert files.RowFile(path).header() == ["sentence", "label", "idx"]
    assert files.RowFile(path).read(["sentence"], ["label", "idx"], "label")[0].to_pydict() == rows(5)


@pytest.mark.parametrize("place", ["glue/sst2", "sst2", "."])
def test_the_folder_is_looked_for_in_order(tmp_path, place):
    write(tmp_path / place / "train.parquet", rows(40))
    write(tmp_path / place / "validation.parquet", rows(10))
    assert errors("glue/sst2", local(tmp_path)) == []
    assert len(load("glue/sst2", local(tmp_path), "best_on_dev").train) == 40


def test_example_ids_are_the_data_sets_own_or_row_numbers(folder):
    splits = load("glue/sst2", local(folder), "best_on_dev")
    assert splits.selection["example_id"][:] == [10 * n for n in range(100, 110)]
    without = rows(10)
    del without["idx"]
    write(folder / "validation.parquet", without)
    splits = load("glue/sst2", local(folder), "best_on_dev")
    assert splits.selection["example_id"][:] == list(range(10))


def test_protocols(folder):
    heldout = load("glue/sst2", local(folder))
    assert (len(heldout.train), len(heldout.selection), len(heldout.tests["test"])) == (32, 8, 10)
    ids = [set(part["example_id"][:]) for part in (heldout.train, heldout.selection)]
    assert ids[0].isdisjoint(ids[1])
    assert ids[0] | ids[1] == {10 * n for n in range(40)}
    best = load("glue/sst2", local(folder), "best_on_dev")
    assert (len(best.train), len(best.selection), best.tests) == (40, 10, {})


def test_further_tests_are_kept(tmp_path):
    count = {"train": 60, "validation_matched": 9, "validation_mismatched": 12}
    for split, number in count.items():
        columns = {"premise": ["p"] * number, "hypothesis": ["h"] * number, "label": [n % 3 for n in range(number)]}
        write(tmp_path / f"{split}.parquet", columns)
    splits = load("glue/mnli", local(tmp_path))
    assert {name: len(part) for name, part in splits.tests.items()} == {"test": 9, "mismatched": 12}
    assert list(splits.fingerprints()) == ["train", "selection", "test", "mismatched"]


@pytest.mark.parametrize(("total", "fraction"), [(1000, 0.20), (1500, 0.20), (1800, 300 / 1800), (8551, 0.15)])
def test_the_selection_fraction_is_the_authors(total, fraction):
    assert selection_fraction(total) == pytest.approx(fraction)


def test_the_cut_is_stratified_and_follows_its_seed():
    labels = [0] * 300 + [1] * 100
    train, selection = cut(400, labels, 3)
    assert np.bincount(np.take(labels, selection)).tolist() == [60, 20]
    assert sorted(train + selection) == list(range(400))
    assert cut(400, labels, 3) == (train, selection)
    assert cut(400, labels, 4) != (train, selection)


def test_draws_do_not_change_between_versions():
    assert cut(60, [n % 2 for n in range(60)], 0)[1] == GOLDEN_SELECTION
    assert draw(1000, 10, 0) == GOLDEN_SUBSET


def test_a_subset_is_taken_before_the_cut_and_named(folder):
    data = local(folder, train_rows=20, test_rows=5)
    splits = load("glue/sst2", data)
    assert (len(splits.train), len(splits.selection), len(splits.tests["test"])) == (16, 4, 5)
    used = {*splits.train["example_id"][:], *splits.selection["example_id"][:]}
    assert used == {10 * n for n in draw(40, 20, 0)}
    assert subset_name("glue/sst2", data) == "20-of-40+test:5-of-10@seed0"
    assert subset_name("glue/sst2", local(folder, train_rows=40)) == "full"
    assert set(draw(40, 10, 0)) < set(draw(40, 20, 0))
    assert draw(40, 10, 0) != draw(40, 10, 1)


def test_a_subset_is_named_without_the_rows_where_they_are_not_here(tmp_path):
    assert subset_name("glue/sst2", local(tmp_path, train_rows=9)) == "9-of-?"


def test_more_rows_than_there_are_is_an_error(folder):
    with pytest.raises(SpecError) as caught:
        load("glue/sst2", local(folder, train_rows=41))
    assert caught.value.errors == ["data.train_rows=41: split train has 40 rows; accepted: at most 40, or null"]


def test_too_few_rows_for_a_cut(folder):
    with pytest.raises(SpecError, match="protocol=heldout: 3 training rows are too few"):
        load("glue/sst2", local(folder, train_rows=3))


def test_missing_folder_split_and_columns_are_each_one_line(tmp_path):
    (missing,) = errors("glue/sst2", local(tmp_path / "nowhere"))
    assert missing.startswith(f"data.path={tmp_path / 'nowhere'}: no such folder; accepted: ")
    (empty,) = errors("glue/sst2", local(tmp_path))
    assert "no split of glue/sst2 in" in empty
    write(tmp_path / "train.parquet", {"text": ["a"], "target": [0]})
    found = errors("glue/sst2", local(tmp_path))
    assert len(found) == 3
    assert "has no column sentence; it has text, target; accepted: the hub's column names sentence, label" in found[0]
    assert "has no column label" in found[1]
    assert "no file of split validation" in found[2]
    assert all("\n" not in error for error in found)


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "jsonl.gz", "json"])
def test_a_damaged_file_is_named(folder, ending):
    (folder / "train.parquet").unlink()
    (folder / f"train.{ending}").write_bytes(b"\x1f\xff\x00[{")
    found = errors("glue/sst2", local(folder))
    assert len(found) >= 1
    assert found[0].startswith(f"data.path={folder}: ")
    with pytest.raises(SpecError):
        load("glue/sst2", local(folder))


def test_a_split_in_two_formats_is_refused(folder):
    write(folder / "train.csv", rows(3))
    (error,) = errors("glue/sst2", local(folder))
    assert "is there more than once (train.csv, train.parquet)" in error


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("label", [0, 1, 2, -1], "2 rows with labels outside what glue/sst2 has, the first at example id 12"),
        ("label", [0, None, 1, 1], "1 rows with labels outside what glue/sst2 has, the first at example id 11"),
        ("label", ["good", "bad", "good", "bad"], "4 rows with labels outside what glue/sst2 has, the first at"),
        ("sentence", ["a", "b", "c", None], "1 rows with null in column sentence, the first at example id 13"),
        ("idx", [1, 2, 2, 3], "column idx is not one id for each row"),
    ],
)
def test_wrong_values_are_named_with_count_and_first_example(folder, column, values, message):
    columns = {"sentence": list("abcd"), "label": [0, 1, 0, 1], "idx": [10, 11, 12, 13], column: values}
    write(folder / "validation.parquet", columns)
    with pytest.raises(SpecError) as caught:
        load("glue/sst2", local(folder))
    assert f"data.path={folder}: split validation: {message}" in caught.value.errors[0]


def test_values_of_a_regression_are_finite_numbers(tmp_path):
    columns = {"sentence1": ["a"] * 20, "sentence2": ["b"] * 20, "label": [n / 4 for n in range(20)]}
    write(tmp_path / "validation.parquet", columns)
    write(tmp_path / "train.csv", columns)
    splits = load("glue/stsb", local(tmp_path))
    assert splits.train.features["label"].dtype == "float32"
    assert len(splits.selection) == 4
    write(tmp_path / "validation.parquet", {**columns, "label": [0.5] * 19 + [float("nan")]})
    with pytest.raises(
        SpecError, match=r"1 rows with labels outside .* at example id 19 \(nan\); accepted: numbers from 0 to 5"
    ):
        load("glue/stsb", local(tmp_path))


def test_classes_in_another_order_are_refused(folder):
    import datasets

    features = datasets.Features(
        sentence=datasets.Value("string"), label=datasets.ClassLabel(names=["positive", "negative"])
    )
    columns = {name: rows(4)[name] for name in ("sentence", "label")}
    datasets.Dataset.from_dict(columns, features=features).to_parquet(folder / "validation.parquet")
    with pytest.raises(SpecError, match="its classes are positive, negative; accepted: negative, positive"):
        load("glue/sst2", local(folder))


@pytest.mark.parametrize("name", TASKS)
def test_every_sentence_task_is_generated(name):
    data = Data(source="embedded", train_rows=100)
    splits = load(f"glue/{name}", data)
    assert (len(splits.train), len(splits.selection)) == (80, 20)
    assert subset_name(f"glue/{name}", data) == "100-of-4000"
    assert list(source_of(f"glue/{name}", data).reference()) == ["generator"]
    assert errors(f"glue/{name}", data) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_as_many_rows_are_generated_as_a_generator_says(family):
    generator = generator_of(family)
    for task, totals in generator.totals.items():
        assert {split: len(generator.make(task, split)) for split in totals} == totals


def test_a_split_that_is_not_generated_is_one_line():
    (line,) = errors("glue/sst2", Data(source="embedded"), "task.splits.test=nosuch")
    assert line == ("task.splits.test=nosuch: no such split of the generated glue/sst2; accepted: train, validation")


def test_a_task_that_is_not_generated_is_one_line():
    (line,) = errors("vision/cifar10", Data(source="embedded"))
    assert line == "data=embedded: nothing is generated for task=vision/cifar10; accepted: vision/digits"


@pytest.mark.parametrize(
    ("task", "overrides", "line"),
    [
        (
            "glue/mnli",
            ["task.extra_test.mismatched=train"],
            "task.extra_test.mismatched=train: the same rows as task.splits.train",
        ),
        ("glue/sst2", ["+task.splits.selection=validation"], "task.splits.selection=validation: the same rows as"),
        (
            "glue/mnli",
            ["task.extra_test.mismatched=validation_matched"],
            "task.extra_test.mismatched=validation_matched: the same rows as task.splits.test",
        ),
        (
            "math/gsm8k_math",
            ["task.test_sets.test.splits.test=train"],
            "task.test_sets.test.splits.test=train: the same rows as task.splits.train",
        ),
    ],
)
def test_rows_that_train_or_select_are_no_test(task, overrides, line):
    source = source_of(task, Data(source="hub"), *overrides)
    (found,) = source.errors()
    assert found.startswith(line)
    assert "; accepted: another split of " in found


@pytest.mark.parametrize("task", ["vision/dtd10", "vision/folder"])
def test_a_task_that_the_hub_has_not_is_one_line(task):
    (line,) = errors(task, Data(source="hub"))
    assert line.startswith("data=hub: ")
    assert line.endswith("; accepted: data=local data.path=FOLDER")


def test_seven_keys_are_a_task(folder):
    task = Task.model_validate(
        {
            "name": "mine",
            "family": "glue",
            "inputs": ["sentence"],
            "label": "label",
            "classes": ["bad", "good"],
            "metrics": ["accuracy"],
            "splits": {"train": "train", "test": "validation"},
        }
    )
    source = sources.source_of(task, local(folder))
    assert source.errors() == []
    assert (source.classes, source.total("train"), len(source.rows("test"))) == (["bad", "good"], 40, 10)
    (line,) = sources.source_of(task, Data(source="hub")).errors()
    assert line == "data=hub: mine is not on the hub; accepted: data=local data.path=FOLDER"


@pytest.mark.parametrize("name", ["cola", "sst2", "mrpc", "stsb", "rte"])
def test_real_data(shared_data, name):
    before = sorted(path.name for path in (shared_data / "glue" / name).iterdir())
    data = local(shared_data)
    assert errors(f"glue/{name}", data) == []
    splits = load(f"glue/{name}", data)
    total = len(splits.train) + len(splits.selection)
    rows_on_the_hub = run_of(f"glue/{name}", data).task.hub.rows
    assert {"train": total, "validation": len(splits.tests["test"])} == rows_on_the_hub
    assert len(splits.selection) == int(np.ceil(total * selection_fraction(total)))
    assert sorted(path.name for path in (shared_data / "glue" / name).iterdir()) == before


def test_qnli_without_its_training_rows_is_refused(shared_data):
    (error,) = errors("glue/qnli", local(shared_data))
    assert "no file of split train" in error


def test_a_column_that_is_not_generated_is_refused() -> None:
    data = Data.model_validate({"source": "embedded"})
    assert errors("glue/rte", data, "task.inputs=[sentence1,nosuch]", "task.label=gold") == [
        "task.inputs=nosuch: no such column of the generated glue/rte; accepted: sentence1, sentence2, label, idx",
        "task.label=gold: no such column of the generated glue/rte; accepted: sentence1, sentence2, label, idx",
    ]
