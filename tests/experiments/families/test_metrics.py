"""Scores of labels against values computed by hand and by scikit-learn and SciPy."""

from __future__ import annotations

import json
from pathlib import Path

import evaluate
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from sklearn import metrics as sklearn_metrics

from experiments.configuration.groups import CONF
from experiments.families.labels import computable, metric_errors
from experiments.families.metrics import SCORES, LabelMetric, compute

GLUE = sorted((CONF / "task" / "glue").glob("*.yaml"))

# 6 true positives, 1 false positive, 2 false negatives, 3 true negatives.
REFERENCES = [1] * 8 + [0] * 4
PREDICTIONS = [1] * 6 + [0] * 2 + [1] + [0] * 3


def test_accuracy_and_f1_by_hand():
    # F1 = 2 TP / (2 TP + FP + FN)
    scores = compute(["accuracy", "f1"], PREDICTIONS, REFERENCES)
    assert scores == {"accuracy": pytest.approx(9 / 12), "f1": pytest.approx(12 / 15)}


def test_the_scores_are_those_asked_for_in_their_order():
    assert list(compute(["f1", "accuracy"], PREDICTIONS, REFERENCES)) == ["f1", "accuracy"]
    assert list(compute(["accuracy"], PREDICTIONS, REFERENCES)) == ["accuracy"]


def test_f1_macro_by_hand():
    # Class by class: 2 of 2 and 1 wrong beside it, 1 of 2, 1 of 1.
    expected = (2 * 2 / 5 + 2 * 1 / 3 + 1) / 3
    assert compute(["f1_macro"], [0, 0, 0, 1, 2], [0, 0, 1, 1, 2]) == {"f1_macro": pytest.approx(expected)}


def test_matthews_by_hand():
    # (TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN))
    expected = (6 * 3 - 1 * 2) / np.sqrt(7 * 8 * 4 * 5)
    assert compute(["matthews_correlation"], PREDICTIONS, REFERENCES) == {
        "matthews_correlation": pytest.approx(expected)
    }


def test_correlations_by_hand():
    # Deviations (-1, 0, 1) and (-4/3, -1/3, 5/3): covariance 3, variances 2 and 14/3; the ranks agree.
    scores = compute(["pearson", "spearman"], [1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    assert scores == {"pearson": pytest.approx(3 / np.sqrt(2 * 14 / 3)), "spearman": pytest.approx(1.0)}


def test_scores_equal_the_libraries_on_random_values():
    draw = np.random.RandomState(0)
    predicted, expected = draw.randint(0, 2, 500), draw.randint(0, 2, 500)
    assert compute(["accuracy", "f1"], predicted, expected)["f1"] == sklearn_metrics.f1_score(expected, predicted)
    assert compute(["matthews_correlation"], predicted, expected)["matthews_correlation"] == pytest.approx(
        sklearn_metrics.matthews_corrcoef(expected, predicted)
    )
    values, targets = draw.normal(size=500), draw.normal(size=500)
    assert compute(["pearson", "spearman"], values, targets) == {
        "pearson": stats.pearsonr(values, targets).statistic,
        "spearman": stats.spearmanr(values, targets).statistic,
    }


def test_three_classes_count_as_they_are():
    assert compute(["accuracy"], [0, 1, 2, 2], [0, 1, 2, 1]) == {"accuracy": 0.75}


def test_constant_predictions_have_defined_scores():
    assert compute(["matthews_correlation"], [1, 1, 1, 1], [0, 1, 0, 1]) == {"matthews_correlation": 0.0}
    assert compute(["accuracy", "f1"], [0, 0], [0, 0]) == {"accuracy": 1.0, "f1": 0.0}
    assert compute(["pearson", "spearman"], [2.5] * 4, [1.0, 2.0, 3.0, 4.0]) == {"pearson": None, "spearman": None}


@pytest.mark.parametrize("values", [[1.0, float("nan"), 2.0], [1.0, float("inf"), 2.0]])
def test_values_that_are_not_finite_give_none_and_strict_json(values):
    scores = compute(["pearson", "spearman"], values, [1.0, 2.0, 3.0])
    assert json.loads(json.dumps(scores, allow_nan=False)) == {"pearson": None, "spearman": None}


@pytest.mark.parametrize("path", GLUE, ids=lambda path: path.stem)
def test_the_metrics_of_glue_are_its_papers(path: Path):
    # Wang et al. 2019, table 1; the first is what the GPart authors select by (MNLI, QQP and WNLI are not in theirs).
    special = {
        "cola": ["matthews_correlation"],
        "mrpc": ["accuracy", "f1"],
        "qqp": ["accuracy", "f1"],
        "stsb": ["pearson", "spearman"],
    }
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["metrics"] == special.get(path.stem, ["accuracy"])


@pytest.mark.parametrize("task", ["glue-cola", "glue-sst2", "vision-digits", "vision-dtd10"])
def test_published_scores_follow_to_the_bit_from_their_predictions(task: str):
    path = min((CONF.parent / "results").rglob(f"*{task}/gpart/*/record.json"))
    record = json.loads(path.read_text(encoding="utf-8"))
    frame = pd.read_parquet(path.with_name("predictions.parquet"))
    test, expected = frame[frame["split"] == "test"], record["metrics"]["test"]
    assert compute(expected, test["prediction"], test["label"]) == expected


def test_whatever_can_be_asked_for_is_computed():
    assert {*computable(None), *computable(2), *computable(3)} == set(SCORES)
    for classes, predicted, expected in (
        (2, [0, 1, 1], [0, 1, 0]),
        (3, [0, 1, 2], [0, 2, 2]),
        (None, [0.5, 2.0], [1.0, 3.0]),
    ):
        assert set(compute(computable(classes), predicted, expected)) == set(computable(classes))


@pytest.mark.parametrize(
    ("metric", "classes", "line"),
    [
        (
            "acuracy",
            2,
            "no score of 2 classes (did you mean accuracy?); accepted: accuracy, f1, f1_macro, matthews_corr",
        ),
        ("f1", 3, "no score of 3 classes; accepted: accuracy, f1_macro, matthews_correlation"),
        ("pearson", 2, "no score of 2 classes; accepted: accuracy"),
        ("accuracy", None, "no score of a regression; accepted: pearson, spearman"),
    ],
)
def test_a_score_that_the_labels_do_not_have_is_one_line(metric, classes, line):
    (found,) = metric_errors([*computable(classes), metric], classes)
    assert found.startswith(f"metrics={metric}: {line}")


def test_each_is_an_evaluate_metric_and_takes_batches():
    metric = LabelMetric(config_name="accuracy", experiment_id="batches", keep_in_memory=True)
    assert isinstance(metric, evaluate.Metric)
    metric.add_batch(predictions=PREDICTIONS[:5], references=REFERENCES[:5])
    metric.add_batch(predictions=PREDICTIONS[5:], references=REFERENCES[5:])
    assert metric.compute() == {"accuracy": pytest.approx(9 / 12)}


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="metric=mrpc: no such metric; accepted: accuracy, f1"):
        compute(["mrpc"], [1], [1])
    with pytest.raises(ValueError, match="accepted: both"):
        compute(["accuracy"], [1, 0], [1])
    with pytest.raises(ValueError, match="n > 0"):
        compute(["accuracy"], [], [])
