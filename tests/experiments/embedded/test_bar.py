"""The embedded tasks mean something: what trains more of the backbone scores more, and nothing is at its ceiling."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from experiments.configuration.overrides import CONF
from experiments.configuration.spec import parse
from experiments.run import runner

SEED = 0
BASELINES = {
    "glue/sst2": "head",
    "glue/mrpc": "head",
    "glue/stsb": "head",
    "vision/digits": "head",
    "math/gsm8k": "untrained",
}


def score(method: str, task: str, outputs: Path) -> float:
    overrides = ["profile=embedded", f"method={method}", f"task={task}", f"seed={SEED}", f"outputs={outputs}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", [*overrides, "isolation=none", "logger=disabled", "keep_checkpoint=false"])
    result = runner.run(parse(composed)[0])
    assert result is not None
    assert result.metrics.test is not None
    test = result.metrics.test[result.key.metric]
    assert test is not None
    return 100 * test


@pytest.mark.slow
@pytest.mark.parametrize("task", BASELINES)
def test_methods_stand_apart(task: str, tmp_path: Path) -> None:
    baseline = BASELINES[task]
    scores = {method: score(method, task, tmp_path) for method in (baseline, "gpart", "lora", "full")}
    print(task, scores)
    assert scores["full"] >= scores[baseline] + 10
    for method in ("gpart", "lora"):
        assert scores[baseline] + 5 <= scores[method] < 99
    if not task.startswith("glue/"):
        assert scores["full"] < 99
