"""What classification (and regression) has in common, whatever is classified: logits in, classes and scores out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import datasets
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction
from transformers.utils.logging import tqdm

from baselines import Adapted
from experiments.families import metrics
from experiments.families.family import Examples, Family, Metrics, Predictions


class Classification(Family):
    """A family whose models give one row of logits per example."""

    def metric_names(self) -> Sequence[str]:
        """See `Family.metric_names`."""
        return metrics.names(self.task["metric"])

    def check(self) -> list[str]:
        """See `Family.check`."""
        metric = self.task["metric"]
        known = metrics.names(metric)
        errors = [] if known else [f"task.metric={metric}: no such metric; accepted: {', '.join(metrics.PRIMARY)}"]
        return errors + super().check()

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """The class of each row of logits (n, classes), or the value itself for a regression (n, 1)."""
        return outputs.argmax(-1) if self.task["classes"] else outputs.reshape(-1)

    def scorer(self) -> Callable[[EvalPrediction], Metrics]:
        """The metric function that `Trainer` calls on a whole split."""

        def score(output: EvalPrediction) -> Metrics:
            logits = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
            return metrics.compute(self.task["metric"], self.predicted(np.asarray(logits)), output.label_ids)

        return score

    def outputs(self, model: nn.Module, examples: Examples, batch_size: int) -> np.ndarray:
        """Logits (n, classes) in float32, in the order of the examples, with dropout off."""
        collator = self.trainer_options().collator
        batches: DataLoader[Any] = DataLoader(examples, batch_size=batch_size, collate_fn=collator)
        parts = []
        with self.inference(model) as device:
            for batch in tqdm(batches, desc="predicting", unit="batch", leave=False):
                inputs = {name: value.to(device) for name, value in batch.items() if name != "labels"}
                parts.append(model(**inputs).logits.float().cpu())
        return torch.cat(parts).numpy()

    def predict(self, adapted: Adapted, split: str, rows: datasets.Dataset, examples: Examples) -> Predictions:
        """Predict and score one split; `logits` are kept beside the predicted classes."""
        logits = self.outputs(adapted.model, examples, self.spec["recipe"]["eval_batch_size"])
        prediction = self.predicted(logits)
        labels = np.asarray(rows[self.task["label"]])
        frame = pd.DataFrame(
            {
                "split": split,
                "example_id": np.asarray(rows["example_id"]),
                "label": labels,
                "prediction": prediction,
                "logits": [row.tolist() for row in logits],
            }
        )
        return Predictions(split, frame, metrics.compute(self.task["metric"], prediction, labels))
