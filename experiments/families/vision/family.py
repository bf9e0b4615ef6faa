"""Image classification: real images, a vision transformer with a new head."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

import datasets
from PIL import Image
from transformers import AutoModelForImageClassification, PretrainedConfig, PreTrainedModel, default_data_collator

from experiments.errors import SpecError
from experiments.families.classification import Classification, labelled
from experiments.families.family import Examples, TrainerOptions
from experiments.families.pretrained import Pretrained
from experiments.families.vision import backbones, transforms
from experiments.families.vision.fused import split_qkv
from experiments.families.vision.positions import resized
from experiments.families.vision.section import VisionBackbone, VisionTask


class Vision(Classification[VisionTask, VisionBackbone]):
    """A run on a task of image classification."""

    def check(self) -> list[str]:
        """See `Family.check`; also every option of augmentation, mixing and evaluation that timm does not have."""
        groups = {
            "augmentation": (self.task.augmentation, transforms.TRAINING_OPTIONS),
            "mixing": (self.task.mixing, transforms.MIXING_OPTIONS),
            "evaluation": (self.task.evaluation, transforms.EVALUATION_OPTIONS),
        }
        return super().check() + [
            f"task.{group}.{name}: unknown option; accepted: {', '.join(sorted(accepted))}"
            for group, (options, accepted) in groups.items()
            for name in options
            if name not in accepted
        ]

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
        """Images as tensors, decoded and transformed when they are asked for.

        Raises:
            SpecError: if a row's image is none, with their number and the first one's id.
        """
        column = self.task.inputs[0]
        _require_images(rows, column, f"task={self.task.name}: split {split}")
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


def _require_images(rows: datasets.Dataset, column: str, where: str) -> None:
    """Refuse rows whose bytes are no image; a file's header and checksums are looked at, its pixels are not."""
    encoded = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    broken = [index for index, row in enumerate(encoded) if not _is_image(row[column]["bytes"])]
    if broken:
        first = rows.select_columns(["example_id"])[broken[0]]["example_id"]
        raise SpecError(
            [
                f"{where}: {len(broken)} rows whose column {column} holds no image, the first at example id {first}; "
                "accepted: the bytes of an image file in every row"
            ]
        )


def _is_image(content: bytes | None) -> bool:
    if not content:
        return False
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError):  # what Pillow raises on bytes that are not what they say
        return False
    return True


FAMILY = Vision
