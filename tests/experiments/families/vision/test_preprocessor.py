"""preprocessor_config.json is read whole, or refused in a line that says what of it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import SpecError
from experiments.families.vision.preprocessor import PREPROCESSOR, image_statistics

SOUND = {"image_mean": [0, 0.5, 0.5], "image_std": [0.5, 0.5, 1], "resample": 3, "size": {"shortest_edge": 256}}


def read(folder: Path, text: str) -> Any:
    (folder / PREPROCESSOR).write_text(text)
    return image_statistics(folder, "backbone.path=F")


def test_what_a_sound_file_says(tmp_path: Path) -> None:
    found = read(tmp_path, json.dumps(SOUND))
    assert (found.mean, found.std, found.interpolation, found.crop_pct) == ((0, 0.5, 0.5), (0.5, 0.5, 1), "bicubic", 1)
    crop = {"do_center_crop": True, "crop_size": 224}
    assert read(tmp_path, json.dumps(SOUND | crop)).crop_pct == 0.875
    assert read(tmp_path, json.dumps(SOUND | {"crop_pct": 0.9})).crop_pct == 0.9
    assert read(tmp_path, json.dumps(SOUND | {"size": "any"})).crop_pct == 1, "a size that crops nothing is not read"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "content"),
        ("{", "content"),
        ("[]", "content"),
        ("{}", "image_mean: missing"),
        (json.dumps(SOUND | {"do_center_crop": True}), "do_center_crop without size and crop_size"),
        *(
            (json.dumps(SOUND | changes), next(iter(changes)))
            for changes in (
                {"image_mean": [0.5]},
                {"image_mean": "grey"},
                {"image_std": [0, 0, 0]},
                {"image_std": [float("nan")] * 3},
                {"image_std": None},
                {"resample": 6},
                {"resample": -1},
                {"resample": "soft"},
                {"crop_pct": 2},
                {"crop_size": 0, "do_center_crop": True},
                {"crop_size": {}, "do_center_crop": True},
            )
        ),
    ],
)
def test_what_cannot_be_used_is_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=rf"^backbone\.path=F: {PREPROCESSOR} is damaged \({said}.*; accepted: "
    ) as refusal:
        read(tmp_path, text)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=rf"^backbone\.path=F: no {PREPROCESSOR} in it .*; accepted: "):
        image_statistics(tmp_path, "backbone.path=F")
