"""The command line of `run.py`: Hydra composes, every error is one line, and the exit status says what happened.

Exit status: 0 all runs are recorded as done, 1 a run failed or diverged, 2 the input was refused.
"""

from __future__ import annotations

import os
import sys

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from experiments.errors import RunFailed, SpecError
from experiments.overrides import override_errors
from experiments.spec import RunSpec


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def _job(composed: DictConfig) -> None:
    """One job of a single run or of a sweep; raises, so that the other jobs of a sweep go on."""
    try:
        spec = RunSpec.from_config(composed)
        # Imported here: torch takes seconds, and a wrong key should be answered at once.
        from experiments import preflight

        preflight.reachable(spec)
        from experiments import runner

        runner.run(spec)
    except SpecError as error:
        _print_errors(error.errors)
        raise
    except RunFailed as error:
        _print_errors([str(error)])
        raise


def main() -> int:
    """Run what the command line asks for; see the module's docstring for the exit status."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing its own report and leaving with status 1
    arguments = sys.argv[1:]
    errors = override_errors(arguments)
    if errors:
        _print_errors(errors)
        return 2
    try:
        _job()
    except SpecError:
        return 2
    except RunFailed:
        return 1
    except (HydraException, OmegaConfBaseException) as error:
        _print_errors([" ".join(str(error).split())])
        return 2
    except KeyboardInterrupt:
        _print_errors(["interrupted"])
        return 130
    return 0


def _print_errors(errors: list[str]) -> None:
    for line in errors:
        print(f"error: {line}", file=sys.stderr, flush=True)
