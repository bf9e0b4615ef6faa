"""A sweep: what is recorded leaves it, the rest is launched, and records say what came of it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn

from experiments.errors import RunFailed, SpecError
from experiments.records import lock, outputs
from experiments.run import runner
from experiments.sweep.plan import Composer, Job, planned

Launcher = Callable[[Sequence[Sequence[str]]], Iterable[JobReturn]]


class SweepFailed(RunFailed):
    """Jobs that did not end ok.

    Args:
        lines: one for each of them.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = list(lines)
        super().__init__("\n".join(lines))


def sweep(overrides: Sequence[Sequence[str]], composed: Composer, launched: Launcher) -> None:
    """Run every job of a sweep that is not recorded.

    Args:
        overrides: of each job.
        composed: gives the configuration of a job from its overrides.
        launched: runs jobs from their overrides and gives what came of each, in their order.

    Raises:
        SpecError: if any job is refused before the first one starts, or all that did not end ok were refused later.
        SweepFailed: if a job did not end ok.
    """
    jobs = planned(overrides, composed)
    open_jobs = [job for job in jobs if job.record is None]
    print(f"sweep: {_jobs(len(jobs))}, {len(jobs) - len(open_jobs)} recorded, {len(open_jobs)} to run", flush=True)
    errors: dict[Job, Exception] = {}
    with _unless_empty(Path(jobs[0].spec.outputs)):
        while open_jobs:
            errors |= _errors(open_jobs, launched)
            open_jobs = _left_to_others(open_jobs, errors)
    _sum_up(jobs, errors)


def to_run(overrides: Sequence[Sequence[str]], composed: Composer) -> bool:
    """Whether any job of a sweep is not recorded; arguments and refusals as those of `sweep`."""
    return any(job.record is None for job in planned(overrides, composed))


@contextlib.contextmanager
def _unless_empty(folder: Path) -> Iterator[None]:
    """Make a folder, as Hydra's launchers do without a word for what the disk refuses; take it away if no job uses it.

    Raises:
        SpecError: if it cannot be made.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with outputs.writing(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        outputs.take_away(folder, [path for path in created if path.is_dir()])


def _jobs(count: int) -> str:
    return f"{count} job" + "s" * (count != 1)


def _errors(jobs: Sequence[Job], launched: Launcher) -> dict[Job, Exception]:
    """Launch jobs; what the launcher, or each job, raised."""
    found: dict[Job, Exception] = {}
    try:
        for job, result in zip(jobs, launched([job.overrides for job in jobs]), strict=True):
            if (error := _raised(result)) is not None:
                found[job] = error
    except Exception as error:  # of a launcher, whose own process has lost a job: the records tell the others apart
        found = {job: found.get(job, error) for job in jobs if job.record is None}
    return found


def _raised(result: JobReturn) -> Exception | None:
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # Hydra's own report, without a reason in it
            _ = result.return_value
    except Exception as error:
        return error
    return None


def _left_to_others(jobs: Sequence[Job], errors: dict[Job, Exception]) -> list[Job]:
    """The jobs that other processes carried out and did not bring to an end, once those have let go of them."""
    busy = [job for job in jobs if isinstance(errors.get(job), lock.Busy)]
    if busy:
        print(f"sweep: waiting for other processes, which carry out {_jobs(len(busy))} of it", flush=True)
    for job in busy:
        del errors[job]
        lock.wait(job.folder)
    return [job for job in busy if job.record is None]


def _sum_up(jobs: Sequence[Job], errors: dict[Job, Exception]) -> None:
    """Say what came of a sweep.

    Raises:
        SpecError, SweepFailed: as `sweep`.
    """
    lines = {job: line for job in jobs if (line := _line(job, errors.get(job))) is not None}
    refused = [error for error in errors.values() if isinstance(error, SpecError)]
    if not jobs[0].spec.plan:
        print(f"sweep: {_jobs(len(jobs))}, {len(jobs) - len(lines)} ok, {len(lines)} not")
    if lines and len(refused) == len(lines):
        raise SpecError(dict.fromkeys(line for error in refused for line in error.errors))
    if lines:
        raise SweepFailed(list(lines.values()))


def _line(job: Job, error: Exception | None) -> str | None:
    """Why a job did not end ok; None where it did."""
    record = runner.known(job.folder) if job.spec.records else None
    if record is not None and (error is None or isinstance(error, RunFailed)):
        return None if record.outcome == "ok" else runner.failure(record, job.folder)
    if error is None:
        return f"{job.name}: nothing is recorded" if job.spec.records else None
    return f"{job.name}: {' '.join(str(error).split())}"
