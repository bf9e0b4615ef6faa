"""The processes of contenders, as the one that measures them sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from experiments.bench.measured import Sizes, Turn
from experiments.bench.setting import Job
from experiments.errors import RunFailed

_ROOT = Path(__file__).resolve().parent.parent.parent


class Worker:
    """The process of one contender (`experiments.bench.worker`).

    Attributes:
        init_seconds: of making the adapter; None where that is what a step is.
    """

    def __init__(self, name: str, job: Job) -> None:
        self.name = name
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        init: float | None = json.loads(self._exchange(job.model_dump_json(exclude_unset=True)))
        self.init_seconds = init

    def warm_up(self, count: int) -> None:
        """See `Contender.warm_up`."""
        self._ask("warm_up", count)

    def turn(self, count: int) -> Turn:
        """See `Contender.turn`."""
        seconds: Turn = json.loads(self._ask("turn", count))
        return seconds

    def forget_peak(self) -> int:
        """See `Contender.forget_peak`."""
        return int(self._ask("forget_peak"))

    def peak(self) -> int:
        """See `Contender.peak`."""
        return int(self._ask("peak"))

    def sizes(self) -> Sizes:
        """See `Contender.sizes`."""
        return Sizes.model_validate_json(self._ask("sizes"))

    def _ask(self, command: str, *arguments: int) -> str:
        return self._exchange(json.dumps([command, *arguments]))

    def _exchange(self, message: str) -> str:
        """The line that answers a line, both JSON."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(message + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RunFailed(
                f"{self.name}: its process ended with status {self._process.wait()}; see its traceback above"
            )
        return line

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
