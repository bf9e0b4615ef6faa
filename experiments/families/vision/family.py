"""Image classification: real images, a vision transformer with a new head."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import datasets
from transformers import AutoModelForImageClassification, PretrainedConfig, PreTrainedModel, default_data_collator

from experiments.families.classification import Classification, labelled
from experiments.families.family import Examples, TrainerOptions
from experiments.families.pretrained import Pretrained
from experiments.families.vision import backbones, transforms
from experiments.families.vision.decoding import require_images
from experiments.families.vision.fused import split_qkv
from experiments.families.vision.positions import resized
from experiments.families.vision.section import VisionBackbone, VisionTask


class Vision(Classification[VisionTask, VisionBackbone]):
    """A run on a task of image classification."""

    def with_logits(self, logits: int) -> Pretrained:
        """See `Classification.with_logits`."""
        config = self.weights.config()
        backbones.require_library(config, self.backbone)
        return Pretrained(AutoModelForImageClassification, labelled(config, logits, regression=False))

    def around(self, model: PreTrainedModel) -> PreTrainedModel:
        """See `Family.around`: the model at the run's image size, its fused attention split where that is asked for.

        At the native size nothing is touched. Otherwise the position embeddings are interpolated once, here, and the
        model is from then on a plain model of its size.
        """
        size = self.backbone.image_size
        with next(model.parameters()).device:
            if size is not None and size != backbones.native_size(model.config):
                model = resized(model, size)
            if self.backbone.split_qkv:
                split_qkv(model)
        return model

    def load(self, head_seed: int) -> PreTrainedModel:
        """See `Family.load`; the head is drawn anew even where a pretrained one would fit."""
        model = super().load(head_seed)
        backbones.draw_head(model, self.head_parameters(model), head_seed)
        return model

    def examples(self, rows: datasets.Dataset, split: str) -> Examples:
        """Images as tensors, decoded and transformed when they are asked for; here all are decoded once, as a trial.

        Raises:
            SpecError: if images cannot be decoded, with their number and the first ones' ids.
        """
        column, data = self.task.inputs[0], self.spec.data
        where = f"data.path={data.path}" if data.source == "local" else f"task={self.task.name}"
        require_images(rows, column, f"{where}: split {split}")
        folder = self.weights.folder()  # first: the configuration is that of its files once they are there
        config = self.weights.config()
        size, statistics = backbones.image_size(self.backbone, config), self._statistics(folder, config)
        examples = partial(transforms.ImageExamples, rows, image=column, label=self.task.label, example_id="example_id")
        if split != "train":
            transform = transforms.evaluation_transform(size, statistics, self.task.evaluation)
            return examples(transform)
        transform = transforms.training_transform(size, statistics, self.task.augmentation)
        mix = transforms.mixing(self.logits, self.task.mixing)
        return examples(transform, seed=self.spec.seeds.data, mix=mix)

    def require_processor(self, folder: Path) -> None:
        """See `Family.require_processor`: how the images of pretraining were prepared."""
        self._statistics(folder, self.weights.config())

    def _statistics(self, folder: Path, config: PretrainedConfig) -> transforms.ImageStatistics:
        return backbones.image_statistics(folder, config, self.weights.key)

    def trainer_options(self) -> TrainerOptions:
        """See `Family.trainer_options`."""
        mixes = transforms.mixing(self.logits, self.task.mixing) is not None
        return TrainerOptions(
            default_data_collator,
            compute_metrics=self.scorer(),
            arguments={"remove_unused_columns": False},
            compute_loss_func=transforms.soft_target_loss if mixes else None,
            callbacks=(transforms.SetEpoch(),),
            counts_tokens=False,
        )


FAMILY = Vision
