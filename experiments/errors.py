"""The errors that the command line turns into one line and an exit status."""

from __future__ import annotations

from collections.abc import Iterable


class SpecError(ValueError):
    """Input that is refused before anything is loaded or written; exit status 2.

    Args:
        errors: one line per error: key, value, what is wrong, what would be accepted.
    """

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(self.errors))

    def __reduce__(self) -> tuple[type[SpecError], tuple[list[str]]]:
        """Keep the list of errors when a child process hands the exception to its parent."""
        return type(self), (self.errors,)


class RunFailed(RuntimeError):  # noqa: N818  an outcome, told apart from a refused input
    """A run that started and is not done: it failed, diverged or was interrupted; exit status 1."""


class Unforeseen(RuntimeError):  # noqa: N818  not what an error says, but that none was expected
    """What a job of a sweep raised and nobody expected, as text, which any launcher can hand on."""


def shorten(text: str, most: int = 300) -> str:
    """The text, cut after `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."
