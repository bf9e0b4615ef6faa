"""The levels of determinism, and the operations met that have no deterministic kernel."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

import torch

Level = Literal["off", "warn", "strict"]

_WITHOUT = re.compile(
    r"(.+?) (?:does not have a deterministic implementation|defaults to a non-deterministic algorithm)"
)
"""How torch begins its warning; the second form is that of the kernels of attention."""


def apply(level: Level) -> None:
    """Choose the kernels of this process from now on.

    Args:
        level: `off`: whichever are fastest; `warn`: deterministic ones where there are any; `strict`: an operation
            that has none raises RuntimeError.
    """
    deterministic = level != "off"
    if deterministic:  # read by cuBLAS when it is first used: torch's "Reproducibility" notes
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic, warn_only=level == "warn")
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = False


@contextmanager
def collected(into: list[str]) -> Iterator[None]:
    """Collect the operations that torch warns of, instead of printing the warnings; others are shown as ever.

    Args:
        into: takes their names, each once and in order.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=_WITHOUT.pattern, category=UserWarning)
        shown = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            operation = _WITHOUT.match(str(message))
            if operation is None:
                shown(message, category, filename, lineno, file, line)
            else:
                into[:] = sorted({*into, operation[1]})

        warnings.showwarning = show
        yield
