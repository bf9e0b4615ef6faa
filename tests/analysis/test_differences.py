from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from analysis.cells import sections
from analysis.differences import Difference, baseline_row, differences
from analysis.records import InputError, read_runs
from analysis.statistics import seed_interval
from analysis.tables import difference_table
from tests.analysis.conftest import RecordWriter, example_interval, record, write, write_predictions


def compared(folder: Path, baseline: str = "head") -> list[Difference]:
    (section,) = sections(read_runs(folder).kept)
    (row,) = baseline_row([section], baseline)
    assert row is not None
    return differences(section, row)


def test_predictions_are_aligned_by_example_id(runs: Path, predicted_run: RecordWriter) -> None:
    for seed in range(2):
        predicted_run("gpart", seed, right=320 + seed)
        predicted_run("head", seed, right=290)
    (found,) = compared(runs)
    assert found.interval is not None
    assert found.interval.difference == pytest.approx((320.5 - 290) / 400)
    label, pairs = np.arange(400) % 2, []
    for seed in range(2):
        wrong = [np.random.default_rng(1000 * seed + n).permutation(400) >= n for n in (320 + seed, 290)]
        pairs.append(tuple(np.where(errors, 1 - label, label) for errors in wrong))
    assert found.interval == pytest.approx(example_interval("accuracy", pairs, label)[0])
    assert len(found.pairs) == 2


def test_only_seeds_that_both_have_are_paired(runs: Path, predicted_run: RecordWriter) -> None:
    for seed in (0, 1, 2):
        predicted_run("gpart", seed, right=320)
    for seed in (1, 2, 3):
        predicted_run("head", seed, right=290)
    (found,) = compared(runs)
    assert len(found.pairs) == 2


def test_runs_without_a_score_are_not_paired(runs: Path, predicted_run: RecordWriter) -> None:
    for method in ("gpart", "head"):
        predicted_run(method, 0)
    predicted_run("head", 1)
    write(runs, record("gpart", 1, outcome="diverged"))
    (found,) = compared(runs)
    assert found.reason is None
    assert len(found.pairs) == 1


def test_without_a_pair_there_is_a_reason(runs: Path, predicted_run: RecordWriter) -> None:
    predicted_run("gpart", 0)
    predicted_run("head", 1)
    predicted_run("head", 0, task="glue/rte")
    predicted_run("gpart", 0, task="glue/qnli")
    reasons = {entry.column.task: entry.reason for entry in compared(runs)}
    assert reasons == {"glue/qnli": "baseline missing", "glue/rte": "missing", "glue/sst2": "no shared seed"}


def test_runs_scored_on_other_examples_are_not_compared(runs: Path, predicted_run: RecordWriter) -> None:
    predicted_run("gpart")
    predicted_run("head", shift=1)
    (found,) = compared(runs)
    assert found.interval is None
    assert "different examples" in str(found.reason)


def test_predictions_that_do_not_give_the_recorded_score_are_not_compared(
    runs: Path, predicted_run: RecordWriter
) -> None:
    predicted_run("head")
    path = predicted_run("gpart", right=300)
    part = pyarrow.parquet.read_table(path.with_name("predictions.parquet")).slice(3).to_pandas()
    write_predictions(path, 1 - part["prediction"].to_numpy(), part["label"].to_numpy(), part["example_id"].to_numpy())
    (found,) = compared(runs)
    assert "give accuracy 0.250000, its record 0.75" in str(found.reason)


@pytest.mark.parametrize("damage", ["absent", "cut", "twice", "split"])
def test_predictions_that_cannot_be_used_give_a_reason(runs: Path, predicted_run: RecordWriter, damage: str) -> None:
    predicted_run("head")
    path = predicted_run("gpart")
    file = path.with_name("predictions.parquet")
    if damage == "absent":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:500])
    else:
        label = np.arange(400) % 2
        split = "selection" if damage == "split" else "test"
        write_predictions(path, label, label, np.repeat(np.arange(200), 2), split)
    (found,) = compared(runs)
    expected = {"absent": "FileNotFoundError", "cut": "ArrowInvalid", "twice": "an example twice", "split": "no rows"}
    assert str(found.reason).startswith("not comparable: ")
    assert expected[damage] in str(found.reason)


def test_best_on_dev_compares_the_selection_split(runs: Path) -> None:
    label, ids = np.arange(40) % 2, np.arange(40)
    for method, right in (("gpart", 30), ("head", 20)):
        path = write(runs, record(method, protocol="best_on_dev", score=right / 40))
        write_predictions(path, np.where(ids < right, label, 1 - label), label, ids, "selection")
    (found,) = compared(runs)
    assert found.interval is not None
    assert found.interval.difference == pytest.approx(0.25)


def test_the_baseline_is_a_method_with_one_row_or_a_label(runs: Path, predicted_run: RecordWriter) -> None:
    for d in (512, 4608):
        predicted_run("gpart", d=d)
    predicted_run("head")
    assert {entry.row.label for entry in compared(runs, "gpart, d=512")} == {"gpart, d=4608", "head"}
    with pytest.raises(InputError, match="fits several rows"):
        compared(runs, "gpart")
    with pytest.raises(InputError, match="no such row; accepted: a method's name, or one of gpart, d=4608"):
        compared(runs, "lora")


def test_two_seeds_have_intervals_over_seeds_and_over_both(runs: Path, predicted_run: RecordWriter) -> None:
    for seed, right in enumerate((320, 330, 310)):
        predicted_run("gpart", seed, right=right)
        predicted_run("head", seed, right=290 + seed)
    (found,) = compared(runs)
    gains = [(320 - 290) / 400, (330 - 291) / 400, (310 - 292) / 400]
    assert found.over_seeds == pytest.approx(seed_interval(gains))
    assert found.interval is not None
    assert found.over_seeds is not None
    assert found.two_level is not None
    assert found.two_level.low < min(found.over_seeds.low, found.interval.low)
    assert found.claim == ("seeds and examples", found.two_level)


def test_one_seed_has_an_interval_over_examples_alone(runs: Path, predicted_run: RecordWriter) -> None:
    predicted_run("gpart", right=330)
    predicted_run("head", right=290)
    (found,) = compared(runs)
    assert (found.over_seeds, found.two_level) == (None, None)
    assert found.claim == ("examples", found.interval)


def test_without_predictions_the_recorded_scores_give_an_interval_over_seeds(runs: Path) -> None:
    for seed, gain in enumerate((0.10, 0.14, 0.12)):
        write(runs, record("gpart", seed, score=0.7 + gain))
        write(runs, record("head", seed, score=0.7))
    (found,) = compared(runs)
    assert "FileNotFoundError" in str(found.reason)
    assert found.over_seeds == pytest.approx(seed_interval([0.10, 0.14, 0.12]))
    assert found.claim == ("seeds", found.over_seeds)
    assert found.tests == ()


def test_scores_of_other_rows_give_no_interval_over_seeds(runs: Path) -> None:
    for seed in range(3):
        write(runs, record("gpart", seed, score=0.8 + 0.01 * seed))
        write(runs, record("head", seed, score=0.7, provenance__data_fingerprint={"test": "others"}))
    (found,) = compared(runs)
    assert found.claim is None


def test_mcnemars_test_is_of_each_pair_and_corrected_over_the_rows(runs: Path, predicted_run: RecordWriter) -> None:
    for method, right in (("gpart", 330), ("lora", 305), ("full", 312), ("head", 290)):
        predicted_run(method, right=right)
    found = {entry.row.method: entry for entry in compared(runs)}
    table = {method: entry.tests[0] for method, entry in found.items()}
    assert all(
        test.only_ours - test.only_theirs == r - 290 for test, r in zip(table.values(), (312, 330, 305), strict=True)
    )
    assert [entry.p for entry in found.values()] == [test.p for test in table.values()]
    ordered = sorted(found.values(), key=lambda entry: entry.p or 0)
    assert ordered[0].holm_p == pytest.approx(min(1, 3 * (ordered[0].p or 0)))
    assert ordered[2].holm_p == pytest.approx(max(entry.holm_p or 0 for entry in ordered))


def test_correlations_have_no_mcnemar_test(runs: Path) -> None:
    ids, label = np.arange(40), np.linspace(0, 5, 40)
    for method, noise in (("gpart", 0.1), ("head", 1.0)):
        prediction = label + noise * np.sin(ids)
        value = float(np.corrcoef(label, prediction)[0, 1])
        path = write(runs, record(method, task="glue/stsb", metric="pearson", score=value))
        write_predictions(path, prediction, label, ids)
    (found,) = compared(runs)
    assert (found.tests, found.p, found.holm_p) == ((), None, None)
    assert found.interval is not None


def test_an_interval_without_a_value_in_some_draw_is_undefined_and_claims_nothing(runs: Path) -> None:
    ids, label = np.arange(4), np.array([0.0, 1.0, 2.0, 3.0])  # of four examples, some draws take one alone
    for method, prediction in (("gpart", label), ("head", np.array([0.0, 2.0, 1.0, 3.0]))):
        value = float(np.corrcoef(label, prediction)[0, 1])
        path = write(runs, record(method, task="glue/stsb", metric="pearson", score=value))
        write_predictions(path, prediction, label, ids)
    (found,) = compared(runs)
    assert (found.claim, found.reason) == (None, None)
    (section,) = sections(read_runs(runs).kept)
    assert difference_table(section, section.rows[1], [found]).rows == (("gpart, d=4608", "undefined"),)
