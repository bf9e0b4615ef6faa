"""What the options of timm that a task may set take: timm itself finds out while it trains, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from schema.validation import shown
from schema.values import Accepts, Count, Flag, Fraction, NotNegative, Positive, accepted

_Range = Annotated[list[Positive], Field(min_length=2, max_length=2), Accepts("a list of two numbers above 0")]
_Interpolation = Literal["random", "nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"]
_Policy = Annotated[
    str,
    StringConstraints(pattern=r"^(rand|augmix|original|originalr|v0|v0r|3a)(-[a-z]+[0-9.]+)*$"),
    Accepts("a policy of timm, such as rand-m9-mstd0.5, augmix-m5-w4 or original"),
]
_Jitter = Annotated[NotNegative | list[NotNegative], Accepts("a number from 0 to 1e30, or a list of 3 or 4 of them")]

AUGMENTATION: Mapping[str, Any] = {
    "no_aug": Flag,
    "train_crop_mode": Literal["rrc", "rkrc", "rkrr"],
    "scale": _Range,
    "ratio": _Range,
    "interpolation": _Interpolation,
    "hflip": Fraction,
    "vflip": Fraction,
    "auto_augment": _Policy | None,
    "color_jitter": _Jitter | None,
    "color_jitter_prob": Fraction | None,
    "grayscale_prob": Fraction | None,
    "gaussian_blur_prob": Fraction | None,
    "re_prob": Fraction,
    "re_mode": Literal["const", "rand", "pixel"],
    "re_count": Count,
}
"""Options of timm.data.create_transform that a training recipe may set."""

EVALUATION: Mapping[str, Any] = {
    "crop_pct": Annotated[float, Field(gt=0, le=2), Accepts("a number above 0, at most 2")],
    "crop_mode": Literal["center", "squash", "border"],
    "crop_border_pixels": Count | None,
    "interpolation": _Interpolation,
}
"""Options of timm.data.create_transform that an evaluation may set."""

MIXING: Mapping[str, Any] = {
    "mixup_alpha": NotNegative,
    "cutmix_alpha": NotNegative,
    "cutmix_minmax": Annotated[list[Fraction], Field(min_length=2, max_length=2), Accepts("a list of two numbers")]
    | None,
    "prob": Fraction,
    "switch_prob": Fraction,
    "mode": Literal["batch", "pair", "elem"],
    "label_smoothing": Fraction,
}
"""Options of timm.data.Mixup that a training recipe may set."""


def option_errors(section: str, options: Mapping[str, object], kinds: Mapping[str, Any]) -> Iterator[str]:
    """One line for each option that there is not, or whose value timm would not take; it begins with its key.

    Args:
        section: the key of the options.
        options: their values.
        kinds: one of the tables above.
    """
    for name, value in options.items():
        if name not in kinds:
            yield f"{section}.{name}: unknown option; accepted: {', '.join(sorted(kinds))}"
            continue
        try:
            TypeAdapter(kinds[name]).validate_python(value, strict=True)
        except ValidationError:
            words = accepted(FieldInfo.from_annotation(kinds[name]))
            yield f"{section}.{name}={shown(value)}: not accepted; accepted: {words}"
