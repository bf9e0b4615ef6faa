"""Transforms: the sizes and numbers of torchvision's, and augmentation that depends on seed, epoch and row alone."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms as reference
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.modeling_outputs import ImageClassifierOutput

from experiments.families.vision.transforms import (
    ImageExamples,
    ImageStatistics,
    SetEpoch,
    as_rgb,
    evaluation_transform,
    mixing,
    seeded,
    soft_target_loss,
    training_transform,
)

ROOT = Path(__file__).resolve().parents[4]
STATISTICS = ImageStatistics((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic", 0.8)
PLAIN = ImageStatistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear", 1.0)
ALL_AT_ONCE = {
    "auto_augment": "rand-m9-mstd0.5-inc1",
    "color_jitter": 0.4,
    "re_prob": 0.5,
    "re_mode": "pixel",
    "vflip": 0.5,
    "interpolation": "random",
}
SIZE = 16
COUNT = 12


def noise(height: int = 40, width: int = 30, seed: int = 0, channels: int = 3) -> Image.Image:
    pixels = np.random.RandomState(seed).randint(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels if channels > 1 else pixels[..., 0])


def table(images: list[Any], **columns: list[Any]) -> datasets.Dataset:
    columns = {"image": images, "label": [number % 3 for number in range(len(images))], **columns}
    return datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())


@pytest.fixture(scope="module")
def rows() -> datasets.Dataset:
    return table([noise(seed=number) for number in range(COUNT)])


def examples(rows: datasets.Dataset, options: Mapping[str, Any] = ALL_AT_ONCE, **arguments: Any) -> ImageExamples:
    return ImageExamples(rows, training_transform(SIZE, STATISTICS, options), **arguments)


def pixels(of: ImageExamples, order: Any = None) -> Tensor:
    return torch.stack([of[index]["pixel_values"] for index in order or range(len(of))])


def test_evaluation_is_resize_and_centre_crop():
    image = noise(50, 80)
    expected = reference.Compose(
        [
            reference.Resize(20, reference.InterpolationMode.BICUBIC),
            reference.CenterCrop(SIZE),
            reference.ToTensor(),
            reference.Normalize(STATISTICS.mean, STATISTICS.std),
        ]
    )
    assert torch.equal(evaluation_transform(SIZE, STATISTICS)(image), expected(image))
    whole = evaluation_transform(SIZE, STATISTICS, {"crop_pct": 1.0, "interpolation": "bilinear"})(image)
    expected.transforms[0] = reference.Resize(SIZE, reference.InterpolationMode.BILINEAR)
    assert torch.equal(whole, expected(image))


def test_training_is_a_random_crop_and_a_flip_and_no_more():
    # Red grows to the right and green downwards: a crop keeps both slopes positive, a flip turns red's round.
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    image = Image.fromarray(np.stack([np.tile(ramp, (64, 1)), np.tile(ramp, (64, 1)).T, np.zeros((64, 64), "u1")], -1))
    transform, flips, widths = training_transform(SIZE, PLAIN), 0, []
    for seed in range(200):
        with seeded(seed):
            red, green, blue = transform(image)
        assert not blue.any()
        flips += int(red[:, 0].mean() > red[:, -1].mean())
        assert green[0].mean() < green[-1].mean()
        widths.append(float((red[:, 0] - red[:, -1]).abs().mean()) * (green[-1] - green[0]).mean())
    assert 70 < flips < 130
    assert min(widths) < 0.2  # areas from 8 % of the image
    assert max(widths) > 0.8  # to all of it


def test_grey_images_become_three_equal_channels_and_palettes_are_looked_up():
    grey = evaluation_transform(SIZE, PLAIN)(as_rgb(noise(channels=1)))
    assert grey.shape == (3, SIZE, SIZE)
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])
    colours = noise()
    assert as_rgb(colours) is colours
    palette = colours.quantize(4)
    assert as_rgb(palette).getpixel((3, 5)) == palette.convert("RGB").getpixel((3, 5))
    assert as_rgb(colours.convert("RGBA")).tobytes() == colours.tobytes()
    with pytest.raises(ValueError, match="its mode is I;16, more than 8 bits"):
        as_rgb(Image.fromarray(np.zeros((4, 4), np.uint16)))


@pytest.mark.parametrize("option", ["mean", "use_prefetcher", "randaugment"])
def test_an_unknown_option_is_refused(option):
    with pytest.raises(ValueError, match=f"augmentation: {option}: unknown; accepted: auto_augment"):
        training_transform(SIZE, STATISTICS, {option: 1})
    with pytest.raises(ValueError, match=f"evaluation: {option}: unknown; accepted: crop_border_pixels"):
        evaluation_transform(SIZE, STATISTICS, {option: 1})


def test_lists_of_a_configuration_do_as_well_as_tuples(rows):
    as_lists = {"scale": [0.5, 1.0], "ratio": [1.0, 1.0], "color_jitter": [0.1, 0.2, 0.3]}
    as_tuples = {key: tuple(value) for key, value in as_lists.items()}
    assert torch.equal(pixels(examples(rows, as_lists)), pixels(examples(rows, as_tuples)))


@pytest.mark.parametrize("key", ["scale", "ratio", "hflip", "auto_augment", "color_jitter", "re_prob", "interpolation"])
def test_every_option_has_an_effect(rows, key):
    values = {"scale": (0.9, 1.0), "ratio": (1.0, 1.0), "hflip": 1.0, "interpolation": "nearest"}
    changed = {key: values.get(key, ALL_AT_ONCE.get(key))}
    assert not torch.equal(pixels(examples(rows, changed)), pixels(examples(rows, {})))


def test_draws_depend_on_seed_epoch_and_row_alone(rows):
    one, two = examples(rows, seed=7), examples(rows, seed=7)
    first = pixels(one)
    random.random(), np.random.rand(), torch.rand(3)
    assert torch.equal(pixels(two, [5, 3, 5])[2], first[5])  # another order, the same row twice
    two.set_epoch(1)
    second = pixels(two)
    assert all(not torch.equal(a, b) for a, b in zip(first, second, strict=True))
    two.set_epoch(0)
    assert torch.equal(pixels(two), first)
    assert not torch.equal(pixels(examples(rows, seed=8)), first)


def test_rows_are_augmented_independently():
    same = table([noise()] * 40)
    drawn = pixels(examples(same, {}))
    assert len({value.numpy().tobytes() for value in drawn}) == 40


def test_the_callers_generators_are_left_alone(rows):
    of = examples(rows)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    pixels(of)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), states[2], strict=True))
    broken = ImageExamples(rows, lambda image: torch.rand(3) / "no number")
    with pytest.raises(TypeError):
        broken[0]
    assert torch.equal(torch.get_rng_state(), states[0])


@pytest.mark.parametrize(("workers", "persistent"), [(1, False), (2, False), (2, True)])
def test_draws_do_not_depend_on_the_loaders_workers(rows, workers, persistent):
    def epochs(**options: Any) -> list[Tensor]:
        of = examples(rows, seed=2)
        loader, batches = DataLoader(of, batch_size=4, **options), []
        for epoch in range(2):
            of.set_epoch(epoch)
            batches.append(torch.cat([batch["pixel_values"] for batch in loader]))
        return batches

    expected = epochs(num_workers=0)
    assert not torch.equal(*expected)
    found = epochs(num_workers=workers, persistent_workers=persistent)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.slow
def test_another_process_draws_the_same(rows, tmp_path):
    rows.save_to_disk(str(tmp_path / "rows"))
    code = (
        "import experiments  # before torchvision, which it repairs\n"
        "from tests.experiments.families.vision.test_transforms import *\n"
        f"rows = datasets.load_from_disk({str(tmp_path / 'rows')!r})\n"
        "print(np.random.rand(), file=sys.stderr)\n"
        f"torch.save(pixels(examples(rows, seed=3)), {str(tmp_path / 'drawn.pt')!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    assert torch.equal(torch.load(tmp_path / "drawn.pt"), pixels(examples(rows, seed=3)))


def test_an_example(rows):
    example = examples(rows)[4]
    assert example.keys() == {"pixel_values", "labels"}
    assert example["pixel_values"].shape == (3, SIZE, SIZE)
    assert example["pixel_values"].dtype == torch.float32
    assert example["labels"] == 1
    assert type(example["labels"]) is int
    assert len(examples(rows)) == COUNT


def test_an_image_that_is_none_is_refused_by_its_id():
    buffer = io.BytesIO()
    noise(200, 200).save(buffer, "JPEG")
    cut = buffer.getvalue()[:2000]
    stored = [{"bytes": value, "path": None} for value in (b"not an image", cut)] + [None]
    of = table([*stored, noise()], example_id=["a-1", "b-2", "c-3", "d-4"])
    named = examples(of, example_id="example_id")
    for index, (name, reason) in enumerate(
        [("a-1", "cannot identify image file"), ("b-2", "truncated"), ("c-3", "it is of type NoneType")]
    ):
        with pytest.raises(ValueError, match=f"column image, example {name}: not an image that can be read .*{reason}"):
            named[index]
    assert named[3]["pixel_values"].shape == (3, SIZE, SIZE)
    with pytest.raises(ValueError, match="column image, example 1: not an image"):
        examples(of)[1]


def test_columns_have_the_names_that_the_task_gives(rows):
    renamed = rows.rename_columns({"image": "img", "label": "fine_label"})
    assert torch.equal(pixels(examples(renamed, image="img", label="fine_label")), pixels(examples(rows)))


def mixed(rows: datasets.Dataset, workers: int = 0, batch: int = 6, **options: Any) -> list[Mapping[str, Tensor]]:
    of = examples(rows, {}, seed=1, mix=mixing(3, options))
    return list(DataLoader(of, batch_size=batch, num_workers=workers))


@pytest.mark.parametrize("options", [{"mixup_alpha": 0.8}, {"cutmix_alpha": 1.0}, {"mixup_alpha": 0.8, "mode": "elem"}])
def test_mixing_is_reproducible_and_gives_probabilities(rows, options):
    batches, plain = mixed(rows, **options), pixels(examples(rows, {}, seed=1))
    images = torch.cat([batch["pixel_values"] for batch in batches])
    labels = torch.cat([batch["labels"] for batch in batches])
    assert labels.shape == (COUNT, 3)
    assert torch.allclose(labels.sum(1), torch.ones(COUNT))
    assert ((labels > 0.01) & (labels < 0.99)).any()
    assert not torch.equal(images, plain)
    for again in (mixed(rows, **options), mixed(rows, workers=2, **options)):
        assert torch.equal(torch.cat([batch["pixel_values"] for batch in again]), images)
        assert torch.equal(torch.cat([batch["labels"] for batch in again]), labels)


def test_every_batch_of_every_epoch_is_mixed_anew(rows):
    of = examples(rows, {}, mix=mixing(3, {"mixup_alpha": 1.0}))
    shares = set()
    for epoch in range(2):
        of.set_epoch(epoch)
        # The first and the last row of each batch of six are of classes 0 and 2.
        shares |= {round(float(batch["labels"][0, 0]), 6) for batch in DataLoader(of, batch_size=6)}
    assert len(shares) == 4


def test_mixup_mixes_images_as_it_mixes_labels(rows):
    (batch,) = mixed(rows, batch=COUNT, mixup_alpha=1.0)
    plain = pixels(examples(rows, {}, seed=1))
    row = next(n for n in range(COUNT) if n % 3 != (COUNT - 1 - n) % 3)
    share = batch["labels"][row, row % 3]
    expected = share * plain[row] + (1 - share) * plain[COUNT - 1 - row]
    torch.testing.assert_close(batch["pixel_values"][row], expected, atol=1e-5, rtol=1e-5)


def test_a_left_over_example_is_not_mixed(rows):
    *_, last = mixed(rows.select(range(7)), mixup_alpha=1.0)
    assert torch.equal(last["pixel_values"][0], examples(rows, {}, seed=1)[6]["pixel_values"])
    assert last["labels"].tolist() == [[1.0, 0.0, 0.0]]
    assert mixing(3, {}) is None
    with pytest.raises(ValueError, match="mixing: alpha: unknown; accepted: cutmix_alpha"):
        mixing(3, {"alpha": 1.0})


class Recorder(nn.Module):
    """A linear classifier that keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * SIZE * SIZE, 3)
        self.seen: list[Tensor] = []

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> ImageClassifierOutput:
        self.seen.append(pixel_values.detach().clone())
        logits = self.head(pixel_values.flatten(1))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)


def train(
    of: ImageExamples,
    folder: Path,
    workers: int = 0,
    callbacks: tuple[TrainerCallback, ...] = (),
    compute_loss_func: Any = None,
    **changes: Any,
) -> Trainer:
    options: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "dataloader_num_workers": workers,
        "dataloader_persistent_workers": workers > 0,
        "disable_tqdm": True,
        "report_to": [],
        "save_strategy": "no",
        "use_cpu": True,
        "seed": 3,
        "logging_steps": 1,
    }
    arguments = TrainingArguments(**options | changes)
    torch.manual_seed(0)
    trainer = Trainer(
        Recorder(), arguments, train_dataset=of, callbacks=[*callbacks], compute_loss_func=compute_loss_func
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("callback", [True, False])
def test_the_trainer_tells_the_epoch_to_its_examples(rows, tmp_path, workers, callback):
    of = examples(rows, {}, seed=5)
    trainer = train(of, tmp_path, workers, (SetEpoch(),) if callback else ())
    seen = torch.cat(trainer.model.seen)
    for epoch in range(2):
        of.set_epoch(epoch)
        expected = {value.numpy().tobytes() for value in pixels(of)}
        assert {value.numpy().tobytes() for value in seen[epoch * COUNT : (epoch + 1) * COUNT]} == expected


def test_the_callback_counts_finished_epochs(rows):
    of = examples(rows, {})
    state = type("State", (), {"epoch": 1.4})()
    SetEpoch().on_epoch_begin(None, state, None, train_dataloader=DataLoader(of))
    expected = pixels(of)
    of.set_epoch(1)
    assert torch.equal(pixels(of), expected)


def test_the_loss_of_probabilities_is_the_mean_over_an_optimiser_step(rows, tmp_path):
    logits, targets = torch.randn(6, 3), torch.rand(6, 3).softmax(1)
    outputs = ImageClassifierOutput(logits=logits)
    expected = nn.functional.cross_entropy(logits, targets)
    torch.testing.assert_close(soft_target_loss(outputs, targets), expected)
    torch.testing.assert_close(soft_target_loss(outputs, targets, targets.numel() * 2), expected / 2)
    classes = torch.tensor([0, 1, 2, 0, 1, 2])
    torch.testing.assert_close(soft_target_loss(outputs, classes, 6), nn.functional.cross_entropy(logits, classes))


def test_accumulated_batches_of_mixed_examples_train_as_one(rows, tmp_path):
    losses = []
    for batch, accumulated in ((12, 1), (4, 3)):
        of = examples(rows, {}, mix=mixing(3, {"mixup_alpha": 1.0, "prob": 0.0}))
        arguments = {"gradient_accumulation_steps": accumulated, "per_device_train_batch_size": batch}
        trainer = train(of, tmp_path, compute_loss_func=soft_target_loss, **arguments)
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert len(losses[0]) == 2
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
