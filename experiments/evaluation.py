"""From a model to scores, and to the per-example predictions that scoring and statistics can be redone from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
from transformers import EvalPrediction, PreTrainedTokenizerBase, Trainer

from experiments import metrics

Metrics = dict[str, float | None]


@dataclass(frozen=True)
class Predictions:
    """Predictions of one split: ids and labels (n,), logits (n, classes), predicted class or value (n,)."""

    split: str
    example_id: np.ndarray
    label: np.ndarray
    logits: np.ndarray
    prediction: np.ndarray
    metrics: Metrics

    def frame(self) -> pd.DataFrame:
        """One row per example: the columns of predictions.parquet (docs/RECORD.md)."""
        return pd.DataFrame(
            {
                "split": self.split,
                "example_id": self.example_id,
                "label": self.label,
                "prediction": self.prediction,
                "logits": [row.tolist() for row in self.logits],
            }
        )


def encode(
    dataset: datasets.Dataset, task: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> datasets.Dataset:
    """Token ids of a split, with `labels`; longer inputs are cut at max_length tokens, padding is left to the batch."""

    def tokens(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        encoded = tokenizer(*(batch[column] for column in task["inputs"]), truncation=True, max_length=max_length)
        return {**encoded, "labels": batch[task["label"]]}

    return dataset.map(
        tokens, batched=True, remove_columns=dataset.column_names, keep_in_memory=True, desc="Tokenizing"
    )


def predicted(logits: np.ndarray, task: Mapping[str, Any]) -> np.ndarray:
    """The predicted class of each row of logits (n, classes), or the value itself for a regression (n, 1)."""
    return logits.argmax(-1) if task["classes"] else logits.reshape(-1)


def scorer(task: Mapping[str, Any]) -> Callable[[EvalPrediction], Metrics]:
    """The metric function that `Trainer` calls on a whole split."""

    def score(output: EvalPrediction) -> Metrics:
        return metrics.compute(task["metric"], predicted(_logits(output.predictions), task), output.label_ids)

    return score


def predict(
    trainer: Trainer, split: str, raw: datasets.Dataset, encoded: datasets.Dataset, task: Mapping[str, Any]
) -> Predictions:
    """Predict one split and score it.

    Args:
        trainer: holds the model; its `scorer` is not used here.
        split: the name to keep the predictions under, "selection" or "test".
        raw: the rows with their `example_id`.
        encoded: the same rows, tokenized.
        task: the `task` section of the run's configuration.
    """
    output = trainer.predict(encoded, metric_key_prefix=split)
    logits = _logits(output.predictions)
    prediction = predicted(logits, task)
    labels = np.asarray(raw[task["label"]])
    if not np.array_equal(labels, np.asarray(output.label_ids).astype(labels.dtype)):
        raise RuntimeError(f"the predictions of split {split} are not in the order of its rows")
    return Predictions(
        split,
        np.asarray(raw["example_id"]),
        labels,
        logits,
        prediction,
        metrics.compute(task["metric"], prediction, labels),
    )


def save(predictions: list[Predictions], path: Path) -> None:
    """Write the predictions of all splits into one parquet file."""
    pd.concat([part.frame() for part in predictions], ignore_index=True).to_parquet(path, index=False)


def _logits(output: Any) -> np.ndarray:
    return np.asarray(output[0] if isinstance(output, tuple) else output)
