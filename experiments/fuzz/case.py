"""One input, what it must lead to, and how what it led to is judged."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

Program = Literal["run.py", "experiments", "analysis"]
Expected = Literal["refused", "done", "either"]
"""What an input must lead to; "either": a refusal and an end in order are both right."""


class Outcome(StrEnum):
    """What an input led to; all but the first four are faults of the suite."""

    REFUSED = "refused well"
    DONE = "done, rightly"
    UNDONE = "not done, and said so"
    NAMED = "done, with a line for each file set aside"
    TRACEBACK = "traceback"
    FAILED = "recorded as failed"
    ACCEPTED = "accepted though wrong"
    UNCLEAR = "refused without key, value or what is accepted"
    WROTE = "wrote something though refused"
    REFUSED_WRONGLY = "refused though right"
    DIED = "died by a signal"
    HUNG = "took too long"

    @property
    def is_fault(self) -> bool:
        """Whether the suite is to be mended."""
        return self not in (Outcome.REFUSED, Outcome.DONE, Outcome.UNDONE, Outcome.NAMED)


def nothing(_: Path) -> None:
    """Make no files."""


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        section: the kind of input.
        words: of the command line.
        expected: what it must lead to.
        about: what is wrong, where the words do not say it.
        make: writes the files that the words name into the folder in which the command is given.
        program: whose command line it is.
        may_fail: whether exit status 1 is right as well: something is not done, and lines say what.
    """

    section: str
    words: tuple[str, ...]
    expected: Expected
    about: str = ""
    make: Callable[[Path], object] = nothing
    program: Program = "run.py"
    may_fail: bool = False

    @property
    def command(self) -> str:
        """The command as it is typed, and what the files are."""
        start = "run.py" if self.program == "run.py" else f"-m {self.program}"
        return f"python {start} {shlex.join(self.words)}" + (f"   # {self.about}" if self.about else "")


@dataclass(frozen=True)
class Observed:
    """What was seen of a case.

    Attributes:
        status: of the process, as `os.waitstatus_to_exitcode` gives it; None where it was ended for taking too long.
        stdout: what it printed.
        stderr: what it complained of.
        outcomes: of all records that it left.
        written: files and folders that it left, below the folder in which the command was given.
    """

    status: int | None
    stdout: str = ""
    stderr: str = ""
    outcomes: tuple[str, ...] = ()
    written: tuple[str, ...] = field(default=())


_LINE = re.compile(r"error: (?:[\w-]+ \w[^:=]*, )?\S[^\n]*?(?:=|: ).*accepted", re.DOTALL)
"""A key, with its value or what is missing, and what would be accepted."""
_BESIDE = re.compile(r"^(note|warning): |\d+%\|")
_TOLD = ("ok", "diverged", "out_of_memory")
"""Outcomes of a record that an input of the right type may lead to."""


def judged(case: Case, seen: Observed) -> Outcome:
    """What a case led to."""
    if seen.status is None:
        return Outcome.HUNG
    if "Traceback (most recent call last)" in seen.stderr + seen.stdout:
        return Outcome.TRACEBACK
    if seen.status < 0:
        return Outcome.DIED
    if any(outcome not in _TOLD for outcome in seen.outcomes):
        return Outcome.FAILED
    if seen.status == 2:
        return _of_refusal(case, seen)
    if case.expected == "refused" and not (seen.status and case.may_fail):
        return Outcome.ACCEPTED
    if seen.status == 0:
        return Outcome.DONE
    return _of_failure(case, seen)


def _of_refusal(case: Case, seen: Observed) -> Outcome:
    if seen.written:
        return Outcome.WROTE
    if not _are_clear(_complaints(seen)):
        return Outcome.UNCLEAR
    return Outcome.REFUSED_WRONGLY if case.expected == "done" else Outcome.REFUSED


def _of_failure(case: Case, seen: Observed) -> Outcome:
    """Exit status 1: of a run that is recorded as what may happen, or of a command that names what is set aside."""
    if seen.outcomes or case.may_fail:
        return Outcome.UNDONE if seen.outcomes else Outcome.NAMED
    return Outcome.UNCLEAR


def _complaints(seen: Observed) -> list[str]:
    """The lines of standard error but for notes, warnings and progress bars, which are no part of a refusal."""
    return [line for line in seen.stderr.splitlines() if line.strip() and not _BESIDE.search(line)]


def _are_clear(lines: Iterable[str]) -> bool:
    found = list(lines)
    return bool(found) and all(_LINE.match(line) for line in found)
