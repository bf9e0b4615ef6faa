"""What classification (and regression) has in common, whatever is classified: logits in, classes and scores out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping

import datasets
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import tqdm

from baselines import Adapted
from baselines.adapted import head_modules, within
from experiments.data.checkpoint import some
from experiments.data.labels import names_of
from experiments.errors import SpecError
from experiments.families import metrics
from experiments.families.family import Examples, Family, Metrics, Predictions
from experiments.families.labels import metric_errors
from experiments.families.pretrained import Pretrained
from schema.run import BackboneT, TaskT


class Classification(Family[TaskT, BackboneT]):
    """A family whose models give one row of logits per example."""

    @property
    def logits(self) -> int:
        """How many logits an example has: one per class, one for a regression."""
        return len(names_of(self.classes)) if self.classes else 1

    @abstractmethod
    def with_logits(self, logits: int) -> Pretrained:
        """`pretrained` for so many logits."""

    def pretrained(self) -> Pretrained:
        """See `Family.pretrained`."""
        return self.with_logits(self.logits)

    def require_head(self, model: PreTrainedModel) -> None:
        """See `Family.require_head`."""
        modules = head_modules(model, self.backbone.head)
        new = sorted(name for name in self.head_parameters(model) if not within(name, modules))
        if new:
            raise SpecError(
                [
                    f"backbone.head=[{', '.join(self.backbone.head)}]: {some(new)} of {type(model).__name__} are new "
                    "and would stay random; accepted: the modules that they are in"
                ]
            )

    def head_parameters(self, model: PreTrainedModel) -> set[str]:
        """The names of the parameters whose shape depends on the number of logits: those of the new head."""
        other = self.around(self.with_logits(self.logits + 1).on_meta())
        shapes = {name: parameter.shape for name, parameter in other.named_parameters()}
        return {name for name, parameter in model.named_parameters() if parameter.shape != shapes[name]}

    def check(self) -> list[str]:
        """See `Family.check`; what the classes of a folder leave of the scores."""
        count = None if self.classes is None else len(names_of(self.classes))
        return [*super().check(), *(f"task.{line}" for line in metric_errors(self.task.metrics, count))]

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """The class of each row of logits (n, classes), or the value itself for a regression (n, 1)."""
        return outputs.argmax(-1) if self.classes else outputs.reshape(-1)

    def scorer(self) -> Callable[[EvalPrediction], Metrics]:
        """The metric function that `Trainer` calls on a whole split."""

        def score(output: EvalPrediction) -> Metrics:
            logits = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
            return metrics.compute(self.task.metrics, self.predicted(np.asarray(logits)), output.label_ids)

        return score

    def outputs(self, model: nn.Module, examples: Examples, batch_size: int) -> np.ndarray:
        """Logits (n, classes) in float32, in the order of the examples, with dropout off."""
        collator = self.trainer_options().collator
        batches: DataLoader[Mapping[str, object]] = DataLoader(examples, batch_size=batch_size, collate_fn=collator)
        parts = []
        with self.inference(model) as device:
            for batch in tqdm(batches, desc="predicting", unit="batch", leave=False):
                inputs = {name: value.to(device) for name, value in batch.items() if name != "labels"}
                parts.append(model(**inputs).logits.float().cpu())
        return torch.cat(parts).numpy()

    def predict(self, adapted: Adapted, split: str, rows: datasets.Dataset, examples: Examples) -> Predictions:
        """Predict and score one split; `logits` are kept beside the predicted classes."""
        logits = self.outputs(adapted.model, examples, self.spec.recipe.eval_batch_size)
        prediction = self.predicted(logits)
        labels = np.asarray(rows[self.task.label])
        frame = pd.DataFrame(
            {
                "split": split,
                "example_id": np.asarray(rows["example_id"]),
                "label": labels,
                "prediction": prediction,
                "logits": [row.tolist() for row in logits],
            }
        )
        return Predictions(split, frame, metrics.compute(self.task.metrics, prediction, labels))


def labelled(config: PretrainedConfig, logits: int, *, regression: bool) -> PretrainedConfig:
    """A configuration, changed in place, for so many logits and the loss that goes with them."""
    config.num_labels = logits
    config.problem_type = "regression" if regression else "single_label_classification"
    return config
