"""The keys of image classification and of image classifiers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from experiments.families.labels import LabelTask
from experiments.families.sections import FamilySections
from experiments.families.vision.options import AUGMENTATION, EVALUATION, MIXING, option_errors
from schema import sections
from schema.marks import RESULT
from schema.values import Count, Flag, Options


class VisionTask(LabelTask):
    """A task of image classification."""

    input_type: Annotated[Literal["image"], RESULT, "what the input columns hold"] = "image"
    augmentation: Annotated[
        Options, RESULT, "options of `timm.data.create_transform`, over the paper's RandomResizedCrop and flip"
    ] = Field(default_factory=dict)
    mixing: Annotated[Options, RESULT, "options of `timm.data.Mixup`, such as mixup_alpha; the paper uses none"] = (
        Field(default_factory=dict)
    )
    evaluation: Annotated[
        Options, RESULT, "`crop_pct`, `crop_mode`, `interpolation`; by default as the backbone was pretrained"
    ] = Field(default_factory=dict)

    def problems(self) -> list[str]:
        """Options that timm does not have, or values that it would not take."""
        groups = {
            "augmentation": (self.augmentation, AUGMENTATION),
            "mixing": (self.mixing, MIXING),
            "evaluation": (self.evaluation, EVALUATION),
        }
        wrong = [line for name, (given, kinds) in groups.items() for line in option_errors(name, given, kinds)]
        return [*super().problems(), *wrong]


class VisionBackbone(sections.Backbone):
    """An image classifier."""

    library: Annotated[Literal["transformers", "timm"], RESULT, "whose model it is"]
    image_size: Annotated[Count | None, RESULT, "pixels; null: as pretrained"] = None
    split_qkv: Annotated[Flag, RESULT, "whether a fused query, key and value is split into three layers"] = False

    @property
    def label(self) -> str:
        """The name; at another image size than the pretrained one, `NAME@SIZE`.

        Every method sees less at half the size, so that such runs are no rows beside runs at the full one.
        """
        return self.name if self.image_size is None else f"{self.name}@{self.image_size}"


SECTIONS = FamilySections(
    VisionTask, VisionBackbone, "image", embedded_backbone="embedded-vit", pretraining="experiments.embedded.vision"
)
