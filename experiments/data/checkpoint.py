"""A folder of pretrained weights: the files that transformers reads of it, and what is wrong with them.

Reads names, JSON and the headers of safetensors files; no weights, and neither torch nor transformers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from safetensors import SafetensorError, safe_open

from experiments.configuration.digests import file_digest
from experiments.data.requirements import CONFIGURATION, CONFIGURATIONS, INDEX, PROCESSORS, WEIGHTS, Processor

ADAPTER = "adapter_config.json"
"""Where this file is, transformers loads the adapter, and the weights that it names."""

_SENTENCEPIECE = "*.model"
"""Of a folder transformers reads any file that ends so, whatever its name."""

_PICKLES = ("*.bin", "*.pth", "*.pt")
_WANTED = {"tokenizer": "the files of a tokenizer", "image": "preprocessor_config.json"}
_SOME = 3
"""So many of several names are told."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder as `save_pretrained` writes it.

    Args:
        folder: of the files.
        processor: what makes the model's inputs.
        key: the setting that asks for the folder, with its value; each error begins with it.
    """

    folder: Path
    processor: Processor
    key: str

    def errors(self) -> list[str]:
        """One line for everything that would make loading fail, or load something else than the folder's weights."""
        if not self.folder.is_dir():
            return [self._line("no such folder")]
        errors = [self._line(problem) for problem in self._configuration_problems()]
        if self.processor == "tokenizer" and not self._processor_files():
            errors.append(self._line("no tokenizer files in it"))
        return errors + [self._line(problem) for problem in self._weight_problems()]

    def digests(self) -> dict[str, JsonValue]:
        """sha256 of every file that a run reads, by its path in the folder.

        Raises:
            OSError: if a file cannot be read.
        """
        named = [self.folder / name for name in CONFIGURATIONS]
        index = [] if (self.folder / WEIGHTS).is_file() else [self.folder / INDEX]
        files = [path for path in (*named, *index) if path.is_file()] + self._processor_files() + self.weight_files()
        return {path.relative_to(self.folder).as_posix(): file_digest(path) for path in files}

    def weight_files(self) -> list[Path]:
        """The files that transformers loads: one, or the shards of an index; whatever else lies beside them is not.

        Raises:
            ValueError: if the index is damaged.
        """
        if (self.folder / WEIGHTS).is_file() or not (self.folder / INDEX).is_file():
            return [self.folder / WEIGHTS]
        try:
            shards = set(_mapping(self.folder / INDEX)["weight_map"].values())
            outside = [shard for shard in shards if Path(shard).name != shard]
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{INDEX} is damaged ({type(error).__name__}: {error})") from error
        if outside or not shards:
            raise ValueError(f"{INDEX} is damaged (no shards in this very folder)")
        return [self.folder / shard for shard in sorted(shards)]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every stored tensor, by its name.

        Raises:
            SafetensorError, OSError, ValueError: if a file is damaged or missing.
        """
        return {name: shape for path in self.weight_files() for name, shape in _shapes(path)}

    def _processor_files(self) -> list[Path]:
        patterns = PROCESSORS[self.processor] + ((_SENTENCEPIECE,) if self.processor == "tokenizer" else ())
        found = {path for pattern in patterns for path in self.folder.glob(pattern)}
        return sorted(path for path in found if path.is_file())

    def _configuration_problems(self) -> Iterator[str]:
        if (self.folder / ADAPTER).is_file():
            yield f"{ADAPTER} in it: an adapter would be loaded on top of the weights, or others in their place"
        if not (self.folder / CONFIGURATION).is_file():
            yield f"no {CONFIGURATION} in it"
        for path in (self.folder / name for name in CONFIGURATIONS):
            if not path.is_file():
                continue
            try:
                values = _mapping(path)
            except (OSError, ValueError) as error:
                yield f"{path.name} is damaged ({error})"
                continue
            if path.name == CONFIGURATION and "transformers_weights" in values:
                yield f"{CONFIGURATION} names weights of its own (transformers_weights)"

    def _weight_problems(self) -> Iterator[str]:
        try:
            files = self.weight_files()
        except ValueError as error:
            yield str(error)
            return
        missing = [path.name for path in files if not path.is_file()]
        if missing:
            yield f"no {some(missing)} in it{self._pickles()}"
        for path in files:
            try:
                if path.is_file():
                    _shapes(path)
            except (SafetensorError, OSError) as error:
                yield f"{path.name} is damaged ({error})"

    def _pickles(self) -> str:
        names = sorted(path.name for pattern in _PICKLES for path in self.folder.glob(pattern))
        return f"; {some(names)} can run any code when loaded and is not read" if names else ""

    def _line(self, problem: str) -> str:
        weights = f"weights ({WEIGHTS}, or its shards with {INDEX})"
        return (
            f"{self.key}: {problem}; accepted: a folder with {CONFIGURATION}, {_WANTED[self.processor]} and {weights}"
        )


def some(names: Sequence[str]) -> str:
    """The first names, and how many there are where that is not all of them."""
    shown = ", ".join(names[:_SOME])
    return shown if len(names) <= _SOME else f"{shown} and {len(names) - _SOME} more"


def _mapping(path: Path) -> dict[str, Any]:
    """What a JSON file holds.

    Raises:
        OSError, ValueError: if it cannot be read, or is no mapping.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError("no mapping")
    return values


def _shapes(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    with safe_open(path, "np") as file:
        return [(name, tuple(file.get_slice(name).get_shape())) for name in file.keys()]  # noqa: SIM118  no mapping
