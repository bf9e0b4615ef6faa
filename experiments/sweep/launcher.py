"""Which launcher takes the jobs of a sweep: Hydra's own, which runs one after the other, or one of an extra."""

from __future__ import annotations

from importlib.util import find_spec

from experiments.configuration.command_line import CommandLine

_PLUGINS = {
    "basic": (None, "hydra"),
    "joblib": ("joblib", "hydra_plugins.hydra_joblib_launcher"),
    "slurm": ("slurm", "hydra_plugins.hydra_submitit_launcher"),
    "submitit_local": ("slurm", "hydra_plugins.hydra_submitit_launcher"),
    "submitit_slurm": ("slurm", "hydra_plugins.hydra_submitit_launcher"),
    "ray": ("ray", "hydra_plugins.hydra_ray_launcher"),
}
"""By launcher, the extra of pyproject.toml that brings it, and the package that has it."""

ELSEWHERE = ("slurm", "submitit_slurm", "ray")
"""Launchers whose jobs may run on another machine, of which this one knows neither cores nor accelerators."""


def launcher_errors(line: CommandLine) -> list[str]:
    """Why the launcher that is asked for cannot take the jobs, one line each; another plug-in's is left to Hydra."""
    errors = []
    for word in line.overrides:
        key, _, name = word.partition("=")
        if key != "hydra/launcher":
            continue
        extra, package = _PLUGINS.get(name, (None, "hydra"))
        if not line.sweep:
            errors.append(f"{word}: takes the jobs of a sweep; accepted: with --multirun (-m), of one job as well")
        elif not _installed(package):
            errors.append(f"{word}: not installed; accepted: basic, or with the extra {extra} (docs/CLUSTER.md)")
    return errors


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # there is no plug-in at all
        return False
