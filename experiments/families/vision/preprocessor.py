"""preprocessor_config.json of an image classifier: how its images were prepared in pretraining."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from experiments.errors import SpecError
from experiments.families.vision.transforms import ImageStatistics
from schema.part import first_error

PREPROCESSOR = "preprocessor_config.json"
_INTERPOLATIONS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""timm's names in the order of Pillow's numbers."""

_Mean = Annotated[float, Field(allow_inf_nan=False)]
_Spread = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Pixels = Annotated[int, Field(ge=1)]
_Size = _Pixels | Annotated[dict[str, _Pixels], Field(min_length=1)]


class Preprocessor(BaseModel):
    """What is read of the file; transformers writes more."""

    model_config = ConfigDict(strict=True)

    image_mean: Annotated[list[_Mean], Field(min_length=3, max_length=3)]
    image_std: Annotated[list[_Spread], Field(min_length=3, max_length=3)]
    resample: Annotated[int, Field(ge=0, lt=len(_INTERPOLATIONS))] = _INTERPOLATIONS.index("bilinear")
    crop_pct: Annotated[float, Field(gt=0, le=1)] | None = None
    do_center_crop: bool | None = None
    size: _Size | None = None
    crop_size: _Size | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_a_crop(cls, values: Any) -> Any:
        """Sizes that crop nothing are not read, whatever they are."""
        if isinstance(values, dict) and (values.get("crop_pct") or not values.get("do_center_crop")):
            return {name: value for name, value in values.items() if name not in ("size", "crop_size")}
        return values

    @property
    def lacks_sizes(self) -> bool:
        """Whether there is a centre crop, and nothing says of what."""
        return bool(self.do_center_crop and not self.crop_pct and None in (self.size, self.crop_size))

    @property
    def crop(self) -> float:
        """The part of the image that an evaluation sees; 1 without a centre crop."""
        if self.crop_pct:
            return self.crop_pct
        if self.size is None or self.crop_size is None:
            return 1.0
        return _shorter(self.crop_size) / _shorter(self.size)


def image_statistics(folder: Path, key: str) -> ImageStatistics:
    """How the images were prepared; without a centre crop crop_pct is 1.

    Args:
        folder: of the weights.
        key: the setting that asks for the folder, with its value.

    Raises:
        SpecError: if the file is not there or damaged, for no mean can be guessed.
    """
    try:
        found = Preprocessor.model_validate_json((folder / PREPROCESSOR).read_bytes())
    except OSError as error:
        raise SpecError([f"{key}: no {PREPROCESSOR} in it ({error.strerror}); {_ACCEPTED}"]) from error
    except ValidationError as error:
        why = first_error(error).partition("; accepted")[0]
        raise SpecError([f"{key}: {PREPROCESSOR} is damaged ({why}); {_ACCEPTED}"]) from error
    if found.lacks_sizes:
        raise SpecError([f"{key}: {PREPROCESSOR} is damaged (do_center_crop without size and crop_size); {_ACCEPTED}"])
    mean, std = tuple(found.image_mean), tuple(found.image_std)
    return ImageStatistics(mean, std, _INTERPOLATIONS[found.resample], found.crop)


_ACCEPTED = f"accepted: a folder with a {PREPROCESSOR} that has image_mean, image_std and resample"


def _shorter(size: int | dict[str, int]) -> int:
    return size if isinstance(size, int) else min(size.values())
