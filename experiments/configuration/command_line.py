"""The words of the command line, sorted into Hydra's flags and the overrides of the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.configuration.groups import CONF, PRIMARY
from experiments.configuration.words import parsed
from experiments.errors import SpecError

_CONFIG_DIR = ("--config-dir", "-cd")
_CONFIG_NAME = ("--config-name", "-cn")
_CONFIG_PATH = ("--config-path", "-cp")
_INFO = ("--info", "-i")
_CHOICES = {
    ("--cfg", "-c"): ("job", "hydra", "all"),
    _INFO: ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
}
"""Hydra's flags that are followed by one of a few words; `--info` alone means `--info all`."""

_FLAGS_WITH_VALUE = {
    *(*_CONFIG_DIR, *_CONFIG_NAME, *_CONFIG_PATH, "--package", "-p"),
    *(flag for flags in _CHOICES for flag in flags),
}
"""Hydra's flags that are followed by a word of their own, unless that is joined to them by "="."""

_FLAGS = {"--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m"}
_SEARCHPATH = "hydra.searchpath"
_FILE = "file://"


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
            (flags if word.startswith("-") or (bool(flags) and _is_value(word, flags[-1])) else overrides).append(word)
        return cls(tuple(flags), tuple(overrides))

    @property
    def sweep(self) -> bool:
        """Whether several values of a key are asked for, each combination as a run of its own."""
        return self.has("-m", "--multirun")

    def has(self, *flags: str) -> bool:
        """Whether one of the flags is given."""
        return any(name in flags for name, _ in self._given())

    @property
    def config_dir(self) -> Path | None:
        """The folder of `--config-dir DIR`, whose groups are searched besides conf/."""
        folder = self._value(*_CONFIG_DIR)
        return Path(folder).expanduser().absolute() if folder else None

    @property
    def config_name(self) -> str | None:
        """The primary configuration, where `--config-name` names another than conf/config.yaml."""
        return self._value(*_CONFIG_NAME)

    @property
    def folders(self) -> list[Path]:
        """The folders whose groups are searched besides conf/: those of `hydra.searchpath` and `--config-dir`."""
        words = [word for word in self.overrides if word.lstrip("+").startswith(f"{_SEARCHPATH}=")]
        listed = [place for word in words for place in _listed(word)]
        paths = [Path(place.removeprefix(_FILE)).absolute() for place in listed if not place.startswith("pkg://")]
        return [*paths, *([self.config_dir] if self.config_dir else [])]

    @property
    def words(self) -> list[str]:
        """The flags with their values, `--info` with the one that it stands for when it stands alone."""
        return [f"{flag}=all" if (flag, None) in self._given() and flag in _INFO else flag for flag in self.flags]

    def with_config_dir(self, folder: Path) -> CommandLine:
        """The same line with another folder in place of that of `--config-dir`."""
        kept = [
            flag
            for place, flag in enumerate(self.flags)
            if flag.partition("=")[0] not in _CONFIG_DIR
            and not {*self.flags[max(place - 1, 0) : place]} & {*_CONFIG_DIR}
        ]
        return CommandLine((*kept, f"--config-dir={folder}"), self.overrides)

    def errors(self) -> list[str]:
        """One line for each flag that is unknown, lacks its value, has another than there is, or suits no sweep."""
        lines = [line for name, value in self._given() if (line := _flag_error(name, value))]
        if self.sweep and self.has("--cfg", "-c", "--info", "-i", "--run", "-r"):
            lines.append(
                "--multirun (-m): with --cfg, --info or --run, each of which is of one run; accepted: one of them"
            )
        return lines or self._folder_errors()

    def _folder_errors(self) -> list[str]:
        try:
            folders = self.folders
        except SpecError as error:
            return error.errors
        lines = [
            f"{'--config-dir' if folder == self.config_dir else _SEARCHPATH}={folder}: no such folder; accepted: an "
            "existing folder"
            for folder in folders
            if not folder.is_dir()
        ]
        name = self.config_name
        files = [folder / f"{name}.yaml" for folder in (CONF, *folders)]
        if not lines and name is not None and not any(file.is_file() for file in files):
            looked = ", ".join(map(str, files))
            lines.append(f"--config-name={name}: no such file ({looked}); accepted: {PRIMARY}, or one that includes it")
        return lines

    def _given(self) -> Iterator[tuple[str, str | None]]:
        """Each flag, with its value if it has one."""
        for place, flag in enumerate(self.flags):
            name, joined, value = flag.partition("=")
            if flag.startswith("-"):
                following = self.flags[place + 1 : place + 2]
                apart = following[0] if following and _is_value(following[0], flag) else None
                yield name, value if joined else apart

    def _value(self, *flags: str) -> str | None:
        return next((value for name, value in self._given() if name in flags), None)


def _is_value(word: str, flag: str) -> bool:
    """Whether a word belongs to the flag before it; `--info` may stand alone before an override."""
    optional = flag in _INFO and "=" in word
    return flag in _FLAGS_WITH_VALUE and not word.startswith("-") and not optional


def _listed(word: str) -> list[str]:
    value = parsed(word).value()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SpecError([f"{word}: not accepted; accepted: a list of folders, as {_SEARCHPATH}=[file:///FOLDER]"])
    return value


def _flag_error(name: str, value: str | None) -> str | None:
    if name not in _FLAGS | _FLAGS_WITH_VALUE:
        return f"{name}: unknown flag; accepted: {', '.join(sorted(_FLAGS | _FLAGS_WITH_VALUE))}"
    if name in _CONFIG_PATH:
        return f"{name}={value}: the configuration is conf/; accepted: --config-dir=DIR, for groups besides it"
    choices = next((choices for flags, choices in _CHOICES.items() if name in flags), None)
    if choices and (value or (name in ("--cfg", "-c"))) and value not in choices:
        return f"{name}={value or ''}: not accepted; accepted: {', '.join(choices)}"
    if name in _FLAGS_WITH_VALUE and not value and name not in _INFO:
        return f"{name}: without a value; accepted: {name}=VALUE"
    return None
