"""The states of training kept on disk, in `resume/` of a run's folder: the newest whole one, or none.

A state is a folder that `transformers.Trainer` writes as its checkpoint. It counts from the moment that it has a
manifest, which is written last and atomically: a process may be killed at any point before.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from transformers.trainer_pt_utils import safe_globals

from experiments.configuration.digests import file_digest
from experiments.records.record import RESUME, write
from schema.record import Provenance

_MANIFEST = "manifest.json"
_PACKAGES = ("python", "torch", "transformers", "accelerate", "peft", "numpy")
"""Whose versions a state is bound to: they draw random numbers, lay out the files and compute the steps."""


class _Manifest(BaseModel):
    """What a state says of itself.

    Attributes:
        origin: the run and the code that it is of, by name.
        files: sha256 by name.
        epoch: epochs trained.
        ended: whether training had ended.
        resumed: the epochs at which attempts had been taken up.
        nondeterministic: operations met so far that have no deterministic kernel.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    origin: dict[str, str]
    files: dict[str, str]
    epoch: float
    ended: bool
    resumed: list[float]
    nondeterministic: list[str]


@dataclass(frozen=True)
class Kept:
    """A state that can be taken up.

    Attributes:
        folder: a checkpoint of `Trainer`.
        ended: whether training had ended, so that nothing is left of it to do.
    """

    folder: Path
    ended: bool


class States:
    """The states kept of one run.

    Args:
        run_folder: of the run.
        origin: what a state must say of its origin to be taken up.
        provenance: of the attempt; holds what a state carries from one attempt to the next.
    """

    def __init__(self, run_folder: Path, origin: Mapping[str, str], provenance: Provenance) -> None:
        self.folder = run_folder / RESUME
        self._origin = dict(origin)
        self._provenance = provenance

    def newest(self) -> Kept | None:
        """The newest whole state, now noted as taken up; one line is printed for each that has to be left out."""
        for folder in sorted(self.folder.glob("checkpoint-*"), key=_step, reverse=True):
            if not (folder / _MANIFEST).is_file():
                continue
            try:
                manifest = self._checked(folder)
            except ValueError as fault:
                print(f"note: {RESUME}/{folder.name} is left out: {fault}")
                continue
            self._take_up(manifest)
            return Kept(folder, manifest.ended)
        return None

    def _take_up(self, manifest: _Manifest) -> None:
        print(f"note: goes on after epoch {manifest.epoch:.6g}, whose state an earlier attempt kept")
        known = self._provenance
        known.resumed = [*manifest.resumed, manifest.epoch]
        known.nondeterministic[:] = sorted({*known.nondeterministic, *manifest.nondeterministic})

    def _checked(self, folder: Path) -> _Manifest:
        try:
            manifest = _Manifest.model_validate_json((folder / _MANIFEST).read_bytes())
        except (OSError, ValidationError):
            raise ValueError(f"its {_MANIFEST} cannot be read") from None
        for name in sorted({*self._origin, *manifest.origin}):
            theirs, ours = manifest.origin.get(name), self._origin.get(name)
            if theirs != ours:
                raise ValueError(f"it is of {name}={theirs}; accepted: {ours}")
        for name, digest in manifest.files.items():
            _require_sound(folder / name, digest)
        return manifest

    @contextmanager
    def writing(self, step: int) -> Iterator[None]:
        """Write and seal a state inside: of what is broken off before it counts nothing stays.

        Args:
            step: optimizer steps so far.
        """
        folder = self._folder(step)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield
        except BaseException:
            if not (folder / _MANIFEST).exists():
                shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # not empty
                self.folder.rmdir()
            raise

    def seal(self, step: int, epoch: float, ended: bool) -> None:
        """Make the state after `step` count, and remove every other."""
        folder = self._folder(step)
        manifest = _Manifest(
            origin=self._origin,
            files={path.name: file_digest(path) for path in sorted(folder.iterdir())},
            epoch=epoch,
            ended=ended,
            resumed=self._provenance.resumed,
            nondeterministic=self._provenance.nondeterministic,
        )
        write(folder / _MANIFEST, manifest)
        for other in self.folder.iterdir():
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)

    def _folder(self, step: int) -> Path:
        return self.folder / f"checkpoint-{step}"


def origin(identity: str, provenance: Provenance, **further: object) -> dict[str, str]:
    """What a state of a run is bound to.

    Args:
        identity: the run's id.
        provenance: of the attempt: versions, commit, level of determinism and number of processes.
        further: whatever else decides what a state holds.
    """
    bound = {
        "id": identity,
        "commit": provenance.git_sha,
        "determinism": provenance.determinism,
        "processes": provenance.processes,
        **{name: provenance.packages[name] for name in _PACKAGES},
        **further,
    }
    return {name: str(value) for name, value in bound.items()}


def load(file: Path, **options: Any) -> Any:
    """What a file of tensors holds, on the CPU; one that would run code is refused with UnpicklingError."""
    with safe_globals():
        return torch.load(file, map_location="cpu", weights_only=True, **options)


def _require_sound(file: Path, digest: str) -> None:
    if not file.is_file() or file_digest(file) != digest:
        raise ValueError(f"its {file.name} is not as it was written")
    if file.suffix in (".pt", ".pth"):
        try:
            load(file, mmap=True)
        except (UnpicklingError, RuntimeError) as error:
            raise ValueError(f"its {file.name} holds more than values ({type(error).__name__})") from None


def _step(folder: Path) -> int:
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1
