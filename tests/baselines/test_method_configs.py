"""The files of conf/method: each gives a configuration that `adapt` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tiny_backbones import BACKBONES, HIDDEN, LAYERS

from baselines import adapt, method_config
from schema.sections import Method

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "method"
FILES = sorted(FOLDER.rglob("*.yaml"))
RUN = {
    "backbone": {"target_modules": ["query", "value"]},
    "recipe": {"dropout": 0.1},
    "seeds": {"partition": 17},
}


def resolved(file: Path, d: int = 24) -> Method:
    """The method's part of a run's configuration, with the top-level d put where the method keeps it."""
    whole: Any = OmegaConf.to_container(
        OmegaConf.merge(OmegaConf.create(RUN), {"method": OmegaConf.load(file)}), resolve=True
    )
    method = Method.model_validate(whole["method"])
    if method.capacity is not None:
        assert method.config[method.capacity] is None
        method.config[method.capacity] = d
    return method


NAMES = {"gpart", "lora", "unilora", "vera", "full", "bitfit", "head", "untrained"}


def test_the_methods_of_the_comparison_are_there() -> None:
    assert {file.stem for file in FILES} >= NAMES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_file_configures_its_method(file: Path) -> None:
    method = resolved(file)
    assert method.name == file.stem
    config = method_config(method.config)
    if file.stem in NAMES:
        assert method.decay_vectors == (file.stem == "gpart")
    bert = BACKBONES["bert"]
    head = [] if file.stem == "untrained" else bert.head
    adapted = adapt(bert.new(), config, head=head, init_seed=0)
    assert adapted.name == file.stem
    expected = {
        "gpart": 24,
        "unilora": 24,
        "lora": LAYERS * 2 * 2 * 8 * HIDDEN,
        "vera": LAYERS * 2 * (256 + HIDDEN),
        "bitfit": bert.biases,
        "head": 0,
        "untrained": 0,
    }
    if file.stem in expected:
        assert adapted.theta == expected[file.stem]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_header_says_how_to_run_it(file: Path) -> None:
    header = [line for line in file.read_text().splitlines() if line.startswith("#")]
    assert any(f"python run.py method={file.stem} " in line for line in header)


def test_the_published_values() -> None:
    lora: Any = method_config(resolved(FOLDER / "lora.yaml").config)
    assert (lora.r, lora.lora_alpha, lora.lora_dropout, lora.bias) == (8, 8, 0.1, "none")
    unilora: Any = method_config(resolved(FOLDER / "unilora.yaml").config)
    assert (unilora.r, unilora.init_theta_d_bound, unilora.unilora_dropout) == (4, 0.02, 0.1)
    assert unilora.proj_seed == 17
    vera: Any = method_config(resolved(FOLDER / "vera.yaml").config)
    assert (vera.r, vera.d_initial, vera.projection_prng_key, vera.bias) == (256, 0.1, 17, "none")
