"""A sweep before its first job: every job composed, checked and looked up in the records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from experiments.configuration.identity import run_folder
from experiments.configuration.overrides import composition_error
from experiments.configuration.spec import parse
from experiments.errors import SpecError
from experiments.run import preflight, runner
from experiments.sweep.launcher import ELSEWHERE
from schema.identity import digest
from schema.record import Record
from schema.run import RunSpec

Composer = Callable[[Sequence[str]], DictConfig]


@dataclass(frozen=True, eq=False)
class Job:
    """One run of a sweep.

    Attributes:
        overrides: of run.py, as Hydra's launchers are given them.
        label: the overrides in which it differs from other jobs of the sweep.
        spec: the run.
        folder: where it is recorded.
    """

    overrides: tuple[str, ...]
    label: str
    spec: RunSpec
    folder: Path

    @property
    def name(self) -> str:
        """The job in a line of text."""
        return f"{self.spec.method.name} on {self.spec.task_name} ({self.label})"

    @property
    def record(self) -> Record | None:
        """The record of the run where it need not be made; None where it is to be made."""
        return runner.recorded(self.spec, self.folder) if self.spec.records else None


def planned(overrides: Sequence[Sequence[str]], composed: Composer) -> list[Job]:
    """Every job of a sweep, checked as a single run is before it starts.

    Args:
        overrides: of each job.
        composed: gives the configuration of a job from its overrides.

    Raises:
        SpecError: all that is wrong with any job, each line once; if there is no job.
    """
    jobs: list[Job] = []
    refused: dict[str, list[str]] = {}
    notes: dict[str, None] = {}
    checked: set[str] = set()
    for own, label in zip(overrides, _labels(overrides), strict=True):
        try:
            job, said = _job(own, label, composed, checked)
        except SpecError as error:
            for line in error.errors:
                refused.setdefault(line, []).append(label)
        else:
            jobs.append(job)
            notes.update(dict.fromkeys(said))
    if refused:
        raise SpecError(_counted(line, labels, len(overrides)) for line, labels in refused.items())
    if not jobs:
        raise SpecError(["-m: a sweep without a job; accepted: at least one value of each key"])
    for note in notes:
        print(f"note: {note}")
    return jobs


def _labels(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Of each job the overrides that not all have."""
    common = set.intersection(*map(set, overrides)) if len(overrides) > 1 else set()
    return [" ".join(word.lstrip("+") for word in own if word not in common) for own in overrides]


def _counted(line: str, labels: Sequence[str], jobs: int) -> str:
    """A refusal, and which jobs it is of where it is not of all."""
    if len(labels) == jobs:
        return line
    return f"{line} ({len(labels)} of {jobs} jobs, the first with {labels[0]})"


def _job(overrides: Sequence[str], label: str, composed: Composer, checked: set[str]) -> tuple[Job, list[str]]:
    """A job, and what has to be said of it; `checked` holds the runs, seeds apart, that are known to fit."""
    try:
        config = composed(overrides)
        here = "hydra" not in config or config.hydra.runtime.choices["hydra/launcher"] not in ELSEWHERE
        with read_write(config), open_dict(config):
            config.pop("hydra", None)
    except (HydraException, OmegaConfBaseException) as error:
        raise SpecError([composition_error(label, error)]) from None
    spec, _ = parse(config)
    said = preflight.reachable(spec, here)
    prepared = preflight.prepare(spec)
    job = Job(tuple(overrides), label, spec, run_folder(spec, prepared.id))
    fit = digest({name: value for name, value in prepared.identity.hashed.items() if name != "seeds"})
    if job.record is None and (spec.plan or fit not in checked):
        preflight.sizes(prepared, here)
        checked.add(fit)
    return job, said
