"""From images to tensors: timm's transforms, with every random draw a function of seed, epoch and example.

torchvision and timm draw from the global generators of torch, `random` and numpy. Each item gets these seeded anew and
gives them back as they were, so that an example's augmentation depends neither on the number of loader workers nor on
what was drawn before it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import datasets
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import ModelOutput

from experiments.families.vision.options import AUGMENTATION, EVALUATION, MIXING

Transform = Callable[[Image.Image], Tensor]
Options = Mapping[str, object]
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

TRAINING_DEFAULTS: Options = {
    "scale": (0.08, 1.0),
    "ratio": (3 / 4, 4 / 3),
    "hflip": 0.5,
    "color_jitter": None,
}
"""RandomResizedCrop with torchvision's ranges and a horizontal flip: PAPERS.md, "ViT"."""
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "F")


@dataclass(frozen=True)
class ImageStatistics:
    """How a backbone's pretraining prepared its images.

    Attributes:
        mean: of each channel of values from 0 to 1, subtracted.
        std: of each channel, divided by.
        interpolation: of resizing, by timm's name ("bilinear", "bicubic", ...).
        crop_pct: share of the resized image's shorter edge that the centre crop of an evaluation keeps.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float


def training_transform(
    size: int, statistics: ImageStatistics, options: Options | None = None
) -> Callable[[Image.Image], Tensor]:
    """From an RGB image to a randomly augmented, normalised tensor (3, size, size).

    Args:
        size: height and width in pixels.
        statistics: of the backbone.
        options: of timm.data.create_transform, over `TRAINING_DEFAULTS`; among them `auto_augment` (such as
            "rand-m9-mstd0.5"), `color_jitter`, `re_prob` (random erasing), `scale`, `ratio` and `interpolation`.

    Raises:
        ValueError: naming an option that is not one of `AUGMENTATION`.
    """
    chosen = {**TRAINING_DEFAULTS, **_checked("augmentation", options, AUGMENTATION)}
    return _transform(size, statistics, is_training=True, **chosen)


def evaluation_transform(
    size: int, statistics: ImageStatistics, options: Options | None = None
) -> Callable[[Image.Image], Tensor]:
    """From an RGB image, resized and cropped at the centre, to a normalised tensor (3, size, size).

    The shorter edge is resized to size / crop_pct. Arguments and errors as in `training_transform`, the options being
    `EVALUATION`.
    """
    chosen = {"crop_pct": statistics.crop_pct, **_checked("evaluation", options, EVALUATION)}
    return _transform(size, statistics, is_training=False, **chosen)


def mixing(classes: int, options: Options) -> Mix | None:
    """Mixup and CutMix of a batch (timm.data.Mixup); None where both are off.

    Args:
        classes: number of classes.
        options: of timm.data.Mixup; both alphas and `label_smoothing` are 0 unless given.

    Returns:
        A function from images (batch, 3, size, size) and labels (batch,) to mixed images, in the same memory, and
        target probabilities (batch, classes), to be trained on with `soft_target_loss`.

    Raises:
        ValueError: naming an option that is not one of `MIXING`.
    """
    from timm.data.mixup import Mixup, mixup_target

    off = {"mixup_alpha": 0.0, "cutmix_alpha": 0.0, "label_smoothing": 0.0}
    chosen = {**off, **_checked("mixing", options, MIXING)}
    if not (chosen["mixup_alpha"] or chosen["cutmix_alpha"] or chosen.get("cutmix_minmax")):
        return None
    mixup = Mixup(num_classes=classes, **chosen)

    def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        # Mixup pairs the examples of a batch; one that is left over stays as it is.
        paired = len(labels) // 2 * 2
        targets = mixup_target(labels, classes, smoothing=chosen["label_smoothing"])
        if paired:
            images[:paired], targets[:paired] = mixup(images[:paired], labels[:paired])
        return images, targets

    return mix


def soft_target_loss(outputs: ModelOutput, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Mean cross-entropy with classes (batch,) or probabilities (batch, classes): a Trainer's `compute_loss_func`.

    The models' own loss takes classes alone.

    Args:
        outputs: of a model, with logits (batch, classes).
        labels: as above.
        num_items_in_batch: entries of the labels of all batches of an optimiser step, as the Trainer counts them;
            None: this batch is the step.
    """
    loss = nn.functional.cross_entropy(outputs.logits, labels, reduction="sum")
    return loss * (labels[0].numel() / (labels.numel() if num_items_in_batch is None else num_items_in_batch))


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """torch's CPU generator, `random` and numpy's global one seeded from `key` inside, as they were before outside."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=20).digest()
    # numpy takes 32 bits
    seeds = [int.from_bytes(part, "little") for part in (digest[:8], digest[8:16], digest[16:])]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    torch.default_generator.manual_seed(seeds[0])
    random.seed(seeds[1])
    np.random.seed(seeds[2])
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])


class ImageExamples(Dataset[Mapping[str, object]]):
    """The examples of a data set of images: {"pixel_values": tensor (3, size, size), "labels": class}.

    Random draws depend on the seed, the epoch and the example's row alone; those of `mix` on the rows of its batch.
    The epoch lies in shared memory, so that `set_epoch` reaches the workers of a loader that keeps them.

    Args:
        rows: with a column of images (`datasets.Image`, decoded) and a column of classes.
        transform: from an RGB image to a tensor.
        seed: of all draws.
        image: name of the column of images.
        label: name of the column of classes.
        example_id: name of a column with the examples' ids for messages; None: the number of the row is the id.
        mix: applied to each batch that a loader asks for; "labels" are then probabilities (classes,).
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        transform: Transform,
        *,
        seed: int = 0,
        image: str = "image",
        label: str = "label",
        example_id: str | None = None,
        mix: Mix | None = None,
    ) -> None:
        self.rows = rows
        self._transform = transform
        self._seed = seed
        self._image, self._label, self._example_id = image, label, example_id
        self._mix = mix
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Draw as in this epoch from the next item on."""
        self._epoch[0] = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Mapping[str, object]:
        """The example of a row.

        Raises:
            ValueError: naming the example, if its image is none or cannot be decoded.
        """
        image, label = self._read(index)
        with seeded(self._seed, int(self._epoch), index):
            return {"pixel_values": self._transform(image), "labels": label}

    def __getitems__(self, indices: Sequence[int]) -> list[Mapping[str, object]]:
        """The examples of a batch: how torch's loader asks for them."""
        examples = [self[index] for index in indices]
        if self._mix is None:
            return examples
        batch = default_collate(examples)
        with seeded(self._seed, int(self._epoch), *indices):
            images, targets = self._mix(batch["pixel_values"], batch["labels"])
        return [{"pixel_values": i, "labels": t} for i, t in zip(images, targets, strict=True)]

    def _read(self, index: int) -> tuple[Image.Image, int]:
        try:
            row = self.rows[index]
            image = row[self._image]
            if not isinstance(image, Image.Image):
                raise ValueError(f"it is of type {type(image).__name__}")
            return as_rgb(image), int(row[self._label])
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on bytes that it cannot decode
            raise ValueError(
                f"column {self._image}, example {self._id(index)}: not an image that can be read "
                f"({' '.join(str(error).split())}); accepted: what Pillow decodes to at most 8 bits a channel"
            ) from error

    def _id(self, index: int) -> object:
        # The image of this row cannot be decoded, so its row is read without it.
        return (
            index if self._example_id is None else self.rows.select_columns(self._example_id)[index][self._example_id]
        )


class SetEpoch(TrainerCallback):
    """Tells the training examples which epoch begins, whatever samplers the Trainer's loader is wrapped in."""

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        train_dataloader: DataLoader[Mapping[str, object]],
        **_: object,
    ) -> None:
        """`state.epoch` counts finished epochs, and is a fraction where training resumes inside of one."""
        examples = train_dataloader.dataset
        assert isinstance(examples, ImageExamples)
        examples.set_epoch(int(state.epoch or 0))


def as_rgb(image: Image.Image) -> Image.Image:
    """The image in RGB: grey values three times, palettes looked up, transparency dropped; it loses that itself.

    Raises:
        ValueError: for more than 8 bits a channel, which Pillow would clip to white.
    """
    if image.mode in _DEEP_MODES:
        raise ValueError(f"its mode is {image.mode}, more than 8 bits a channel")
    image.info.pop("transparency", None)  # of a palette, which Pillow would warn of
    return image if image.mode == "RGB" else image.convert("RGB")


def _transform(size: int, statistics: ImageStatistics, **options: object) -> Transform:
    from timm.data import create_transform

    named = {"interpolation": statistics.interpolation, **options}
    # timm tells a scalar from a pair by the exact types tuple and list, which a configuration's own lists are not.
    named = {
        key: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for key, value in named.items()
    }
    transform: Transform = create_transform(input_size=size, mean=statistics.mean, std=statistics.std, **named)
    return transform


def _checked(where: str, options: Options | None, accepted: Mapping[str, object]) -> dict[str, object]:
    chosen = dict(options or {})
    unknown = sorted(chosen.keys() - accepted.keys())
    if unknown:
        raise ValueError(f"{where}: {', '.join(unknown)}: unknown; accepted: {', '.join(sorted(accepted))}")
    return chosen
