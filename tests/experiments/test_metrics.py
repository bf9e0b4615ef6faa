"""GLUE's metrics against values computed by hand and by scikit-learn and SciPy."""

from __future__ import annotations

import json

import evaluate
import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from experiments.families.metrics import PRIMARY, Labels, compute

# 6 true positives, 1 false positive, 2 false negatives, 3 true negatives.
REFERENCES = [1] * 8 + [0] * 4
PREDICTIONS = [1] * 6 + [0] * 2 + [1] + [0] * 3


@pytest.mark.parametrize("task", ["sst2", "qnli", "rte", "wnli", "mnli"])
def test_accuracy_by_hand(task):
    assert compute(task, PREDICTIONS, REFERENCES) == {"accuracy": pytest.approx(9 / 12)}


@pytest.mark.parametrize("task", ["mrpc", "qqp"])
def test_accuracy_and_f1_by_hand(task):
    # F1 = 2 TP / (2 TP + FP + FN)
    assert compute(task, PREDICTIONS, REFERENCES) == {"accuracy": pytest.approx(9 / 12), "f1": pytest.approx(12 / 15)}


def test_matthews_by_hand():
    # (TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN))
    expected = (6 * 3 - 1 * 2) / np.sqrt(7 * 8 * 4 * 5)
    assert compute("cola", PREDICTIONS, REFERENCES) == {"matthews_correlation": pytest.approx(expected)}


def test_correlations_by_hand():
    # Deviations (-1, 0, 1) and (-4/3, -1/3, 5/3): covariance 3, variances 2 and 14/3; the ranks agree.
    scores = compute("stsb", [1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    assert scores == {"pearson": pytest.approx(3 / np.sqrt(2 * 14 / 3)), "spearman": pytest.approx(1.0)}


def test_scores_equal_the_libraries_on_random_values():
    draw = np.random.RandomState(0)
    predicted, expected = draw.randint(0, 2, 500), draw.randint(0, 2, 500)
    assert compute("mrpc", predicted, expected)["f1"] == sklearn_metrics.f1_score(expected, predicted)
    assert compute("cola", predicted, expected)["matthews_correlation"] == pytest.approx(
        sklearn_metrics.matthews_corrcoef(expected, predicted)
    )
    values, targets = draw.normal(size=500), draw.normal(size=500)
    assert compute("stsb", values, targets) == {
        "pearson": stats.pearsonr(values, targets).statistic,
        "spearman": stats.spearmanr(values, targets).statistic,
    }


def test_three_classes_count_as_they_are():
    assert compute("mnli", [0, 1, 2, 2], [0, 1, 2, 1]) == {"accuracy": 0.75}


def test_constant_predictions_have_defined_scores():
    assert compute("cola", [1, 1, 1, 1], [0, 1, 0, 1]) == {"matthews_correlation": 0.0}
    assert compute("mrpc", [0, 0], [0, 0]) == {"accuracy": 1.0, "f1": 0.0}
    assert compute("stsb", [2.5] * 4, [1.0, 2.0, 3.0, 4.0]) == {"pearson": None, "spearman": None}


@pytest.mark.parametrize("values", [[1.0, float("nan"), 2.0], [1.0, float("inf"), 2.0]])
def test_values_that_are_not_finite_give_none_and_strict_json(values):
    scores = compute("stsb", values, [1.0, 2.0, 3.0])
    assert json.loads(json.dumps(scores, allow_nan=False)) == {"pearson": None, "spearman": None}


def test_primary_metrics_are_the_papers():
    expected = dict.fromkeys(["sst2", "mrpc", "qnli", "rte", "mnli", "qqp", "wnli", "accuracy"], "accuracy")
    assert dict(PRIMARY) == {**expected, "cola": "matthews_correlation", "stsb": "pearson"}


def test_it_is_an_evaluate_metric_and_takes_batches():
    metric = Labels(config_name="sst2", experiment_id="batches", keep_in_memory=True)
    assert isinstance(metric, evaluate.Metric)
    metric.add_batch(predictions=PREDICTIONS[:5], references=REFERENCES[:5])
    metric.add_batch(predictions=PREDICTIONS[5:], references=REFERENCES[5:])
    assert metric.compute() == {"accuracy": pytest.approx(9 / 12)}


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="metric=sst3: no such metric; accepted: cola, sst2"):
        compute("sst3", [1], [1])
    with pytest.raises(ValueError, match="accepted: both"):
        compute("sst2", [1, 0], [1])
    with pytest.raises(ValueError, match="n > 0"):
        compute("sst2", [], [])
