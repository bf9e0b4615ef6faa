"""Cases tried one after the other, each in a process forked from one that has imported everything already."""

from __future__ import annotations

import io
import json
import os
import runpy
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl

from experiments.configuration.digests import cache_folder
from experiments.fuzz.case import Case, Observed
from experiments.records.record import RECORD

_ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 120
"""After so long a case is ended."""
_IMPORTED = (
    "experiments.families.glue.family",
    "experiments.families.vision.family",
    "experiments.families.math.family",
    "experiments.run.execute",
    "experiments.commands.reproduce",
    "experiments.commands.reevaluate",
    "analysis.report.all_command",
)
"""What the commands import, by name: analysis is no package that experiments may lean on."""
_APART = {
    "HF_HUB_OFFLINE": "1",
    "WANDB_MODE": "disabled",
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "",
}
"""Of the environment of every case: the hub is not asked, nothing is mirrored, and a fork has no device."""


@contextmanager
def warm() -> Iterator[None]:
    """Import what the commands import, so that cases need not; this process is as it was afterwards."""
    import torch

    environment, threads = dict(os.environ), torch.get_num_threads()
    os.environ.update(_APART, GPART_CACHE=str(cache_folder()))
    torch.set_num_threads(1)  # a process that has started threads cannot be forked
    try:
        for name in _IMPORTED:
            import_module(name)
        with _composed_once():
            yield
    finally:
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environment)


@contextmanager
def _composed_once() -> Iterator[None]:
    """Let Hydra remember what it composed: the same words give the same configuration, in half a second each time."""
    composed: dict[str, Any] = {}
    original = ConfigLoaderImpl.load_configuration

    def load(loader: ConfigLoaderImpl, *arguments: Any, **options: Any) -> Any:
        key = repr((str(loader.config_search_path), arguments, options))
        if key not in composed:
            composed[key] = original(loader, *arguments, **options)
        return deepcopy(composed[key])

    ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = original  # type: ignore[method-assign]


@contextmanager
def workplace() -> Iterator[Path]:
    """A new folder, for the files of one case, which is taken away again."""
    folder = Path(tempfile.mkdtemp(prefix="gpart-fuzz-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tried(case: Case) -> Observed:
    """Give the command of a case in a folder that holds its files alone."""
    with workplace() as folder:
        inside = folder / "here"
        inside.mkdir()
        case.make(inside)
        before = _contents(inside)
        status = _status(case, folder)
        written = tuple(sorted(_contents(inside) - before))
        stdout, stderr = _text(folder / "stdout"), _text(folder / "stderr")
        return Observed(status, stdout, stderr, _outcomes(inside, before), written)


def _contents(folder: Path) -> frozenset[str]:
    return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _outcomes(folder: Path, before: frozenset[str]) -> tuple[str, ...]:
    """The outcomes of the records that are new."""
    found = []
    for path in folder.rglob(RECORD):
        if path.relative_to(folder).as_posix() not in before:
            found.append(str(json.loads(path.read_text(encoding="utf-8")).get("outcome")))
    return tuple(found)


def _status(case: Case, folder: Path) -> int | None:
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        os._exit(_ended(case, folder))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if status == -signal.SIGALRM else status


def _ended(case: Case, folder: Path) -> int:
    """Be the process of a case; its exit status."""
    try:
        signal.alarm(_SECONDS)
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), descriptor)
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w"), encoding="utf-8") for number in (1, 2))
        os.environ.update(HOME=str(folder / "home"), TMPDIR=str(folder))
        tempfile.tempdir = None
        os.chdir(folder / "here")
        return _called(case)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()


def _called(case: Case) -> int:
    """What `python run.py` or `python -m PROGRAM` does with the words."""
    sys.argv = [case.program, *case.words]
    try:
        if case.program == "run.py":
            runpy.run_path(str(_ROOT / "run.py"), run_name="__main__")
        else:
            runpy.run_module(case.program, run_name="__main__", alter_sys=False)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
            return 1
        return ended.code or 0
    return 0
