"""The generated tasks mean something: what trains more of the encoder scores more, and nothing is at its ceiling."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest
from hydra import compose, initialize_config_dir

from experiments import runner
from experiments.embedded import encoder_folder
from experiments.overrides import CONF
from experiments.spec import RunSpec

SEEDS = (0, 1, 2)


def score(method: str, task: str, seed: int, outputs: Path) -> float:
    overrides = ["profile=embedded", f"method={method}", f"task=glue/{task}", f"seed={seed}", f"outputs={outputs}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", [*overrides, "isolation=none", "logger=disabled", "keep_checkpoint=false"])
    result = runner.run(RunSpec.from_config(composed))
    assert result is not None
    test: float = result["metrics"]["test"][result["metrics"]["primary"]]
    return 100 * test


@pytest.mark.slow
@pytest.mark.parametrize("task", ["sst2", "mrpc", "stsb"])
def test_methods_stand_apart_over_three_seeds(task: str, tmp_path: Path) -> None:
    encoder_folder()  # pretrains it where it is not cached
    means = {
        method: mean(score(method, task, seed, tmp_path) for seed in SEEDS)
        for method in ("head", "gpart", "lora", "full")
    }
    print(task, means)
    assert means["full"] >= means["head"] + 10
    for method in ("gpart", "lora"):
        assert means["head"] + 5 <= means[method] < 99
