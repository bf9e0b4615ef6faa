"""Jobs that are composed from files read once are composed as by Hydra alone."""

from __future__ import annotations

from copy import copy

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from experiments.configuration import resolvers
from experiments.configuration.groups import CONF, options
from hydra_plugins.planned_sweeper import _FilesReadOnce

JOBS = [
    *(["profile=embedded", "task=glue/rte", f"method={name}"] for name in options("method")),
    *(["profile=embedded", f"task={name}"] for name in ("vision/digits", "math/gsm8k", "glue/stsb")),
    *(["backbone=minilm-l6", f"method={name}", "task=glue/sst2"] for name in ("gpart", "lora")),
    ["task=glue/sst2", "++recipe.epochs=7", "++seed=3", "diagnostics=all", "protocol=best_on_dev"],
]


@pytest.mark.parametrize("jobs", [JOBS, JOBS[::-1]], ids=["forwards", "backwards"])
def test_what_one_job_reads_changes_no_other(jobs: list[list[str]]) -> None:
    resolvers.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        shared = copy(loader)
        shared.repository = _FilesReadOnce(loader.repository)
        for job in jobs * 2:
            alone, together = (one.load_configuration("config", job, RunMode.MULTIRUN) for one in (loader, shared))
            assert OmegaConf.to_yaml(alone) == OmegaConf.to_yaml(together)
