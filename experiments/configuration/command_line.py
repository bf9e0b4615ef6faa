"""The words of the command line, sorted into Hydra's flags and the overrides of the run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_FLAGS_WITH_VALUE = {
    *("--cfg", "-c", "--package", "-p", "--info", "-i", "--config-dir", "-cd", "--config-name", "-cn"),
    *("--config-path", "-cp", "--experimental-rerun"),
}
"""Hydra's flags that are followed by a word of their own, unless that is joined to them by "="."""

_CONFIG_DIR = ("--config-dir", "-cd")


@dataclass(frozen=True)
class CommandLine:
    """Flags, each followed by its value if it has one, and overrides, both in the order given."""

    flags: tuple[str, ...]
    overrides: tuple[str, ...]

    @classmethod
    def of(cls, words: Iterable[str]) -> CommandLine:
        """Sort the words that follow `run.py`; flags may stand before, between and after overrides."""
        flags: list[str] = []
        overrides: list[str] = []
        for word in words:
            belongs = word.startswith("-") or (bool(flags) and flags[-1] in _FLAGS_WITH_VALUE)
            (flags if belongs else overrides).append(word)
        return cls(tuple(flags), tuple(overrides))

    @property
    def sweep(self) -> bool:
        """Whether several values of a key are asked for, each combination as a run of its own."""
        return self.has("-m", "--multirun")

    def has(self, *flags: str) -> bool:
        """Whether one of the flags is given."""
        return any(flag.partition("=")[0] in flags for flag in self.flags)

    @property
    def config_dir(self) -> Path | None:
        """The folder of `--config-dir DIR`, whose groups are searched besides conf/."""
        for place, flag in enumerate(self.flags):
            name, joined, value = flag.partition("=")
            if name in _CONFIG_DIR:
                return Path(value if joined else "".join(self.flags[place + 1 : place + 2])).absolute()
        return None

    def with_config_dir(self, folder: Path) -> CommandLine:
        """The same line with another folder in place of that of `--config-dir`."""
        kept = [
            flag
            for place, flag in enumerate(self.flags)
            if flag.partition("=")[0] not in _CONFIG_DIR
            and not {*self.flags[max(place - 1, 0) : place]} & {*_CONFIG_DIR}
        ]
        return CommandLine((*kept, f"--config-dir={folder}"), self.overrides)
