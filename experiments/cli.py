"""The command line of `run.py`: Hydra composes, every error is one line, and the exit status says what happened.

Exit status: 0 all runs are recorded and ended ok, 1 one did not, 2 the input was refused, 128 + N ended by signal N.
"""

from __future__ import annotations

import os
import shlex
import sys
import warnings

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from experiments.configuration.command_line import CommandLine
from experiments.configuration.groups import CONF, PRIMARY, searched
from experiments.configuration.overrides import composition_error, override_errors
from experiments.configuration.spec import parse
from experiments.configuration.usage import usage
from experiments.configuration.words import needless, spelled
from experiments.errors import RunFailed, SpecError, Unforeseen
from experiments.records.lock import Busy
from experiments.run import processes, signals
from experiments.run.assistant import assist
from experiments.sweep.launcher import launcher_errors
from schema import console
from schema.console import complain

_RAISED: list[BaseException] = []
"""What the one job of a single run raised, kept from Hydra, which would report it in its own way."""


@hydra.main(version_base="1.3", config_path=str(CONF), config_name=PRIMARY)
def _job(composed: DictConfig) -> None:
    """One job of a single run, whose error `_run` raises, or of a sweep, where the launcher hands it to the sweeper."""
    sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        _carry_out(composed, wait=not sweep)
    except Exception as error:
        if not sweep:
            _RAISED.append(error)
        elif isinstance(error, SpecError | RunFailed | Busy):
            raise
        else:
            console.bug()
            raise Unforeseen(f"{type(error).__name__}: {error}") from None


def _carry_out(composed: DictConfig, wait: bool) -> None:
    """Check and run what was composed; in a sweep the next job is of more use than waiting: the sweeper comes back."""
    spec, notices = parse(composed)
    # Imported here: torch takes seconds, and a wrong key should be answered at once.
    from experiments.run import preflight

    notices += preflight.reachable(spec)
    from experiments.run import runner

    runner.run(spec, notices, wait=wait)


def main() -> int:
    """Run what the command line asks for; see the module's docstring for the exit status."""
    silence()
    return processes.led(lambda: console.run(_main), assist)


def _main() -> int:
    line = CommandLine.of(sys.argv[1:])
    if line.has("-h", "--help"):
        with searched(*([] if line.errors() else line.folders)):
            print(usage())
        return 0
    errors = override_errors(sys.argv[1:]) or launcher_errors(line)
    if errors:
        complain(errors)
        return 2
    with searched(*line.folders):
        # Hydra's parser takes flags before overrides, or behind them all, and no null for a group.
        sys.argv[1:] = [*line.words, *(spelled(word) for word in line.overrides if not needless(word))]
        return _run()


def silence() -> None:
    """Filter warnings about which users can do nothing, here and in child processes."""
    # PEFT 0.21 asks transformers by a name that has been renamed, and doubts that VeRA's projections come out of their
    # key again, which the round trip measures. accelerate 1.15 hands torch an argument that has been renamed.
    quiet = {
        "transformers.modeling_utils": FutureWarning,
        "peft.tuners.vera.config": UserWarning,
        "accelerate.accelerator": FutureWarning,
    }
    for module, category in quiet.items():
        warnings.filterwarnings("ignore", category=category, module=module)
    ignored = ",".join(f"ignore::{category.__name__}:{module}" for module, category in quiet.items())
    os.environ.setdefault("PYTHONWARNINGS", ignored)


def _run() -> int:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises instead of printing its own report and leaving with status 1
    try:
        with signals.raised():
            _hand_to_hydra()
            if _RAISED:
                raise _RAISED.pop()
    except SpecError as error:
        complain(error.errors)
        return 2
    except (RunFailed, Busy) as error:
        complain(str(error).splitlines())
        return 1
    except signals.Interrupted as error:
        complain([f"ended by {error.number.name}; the same command goes on with what is not recorded"])
        return error.status
    return 0


def _hand_to_hydra() -> None:
    """Let Hydra compose and run what the command line asks for.

    Raises:
        SpecError: if it cannot compose that.
    """
    try:
        _job()
    except (HydraException, OmegaConfBaseException) as error:
        raise SpecError([composition_error(shlex.join(sys.argv[1:]), error)]) from None
