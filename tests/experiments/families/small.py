"""Families of runs on backbones in a folder, without a run around them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from experiments import families
from experiments.configuration.overrides import CONF
from experiments.configuration.spec import parse
from experiments.data.weights import weights_of
from experiments.families.family import Classes, Family
from schema.run import RunSpec

OVERRIDES = {
    "encoder": ["task=glue/sst2", "backbone=encoder", "backbone.max_length=16"],
    "vit": ["task=vision/cifar10", "backbone=vit"],
    "causal": ["task=math/gsm8k", "backbone=causal", "backbone.max_length=16"],
    "embedded-vit": ["profile=embedded", "task=vision/digits"],
}


@cache
def spec(backbone: str) -> RunSpec:
    """The configuration of a run with a backbone of conf/backbone."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        common = ["method=head", "recipe=default", "+backbone.hub=owner/name" if "embedded" not in backbone else ""]
        overrides = [part.removeprefix("+") for part in [*OVERRIDES[backbone], *common] if part]
        return parse(compose("config", overrides))[0]


def family(backbone: str, folder: Path | None, classes: Classes = 2, **changes: Any) -> Family:
    """The family of a run.

    Args:
        backbone: a name in `OVERRIDES`.
        folder: of the weights; None: where conf/backbone has them.
        classes: of the task.
        changes: of the `backbone` section.
    """
    base = spec(backbone)
    place = {"source": "local", "path": str(folder)} if folder else {}
    section = type(base.backbone).model_validate(base.backbone.model_dump() | place | changes)
    return families.family_of(base.model_copy(update={"backbone": section}), weights_of(section, timeout=1), classes)
