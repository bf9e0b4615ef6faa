"""The code that was submitted is the code that runs: where jobs start later, a sweep runs from a copy of its own.

A launcher hands jobs to processes that may start when the checkout has changed. The copy lies below the outputs, in a
folder named by the digest of what it holds, so that sweeps of the same code share it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig

from experiments.configuration.command_line import CommandLine
from experiments.configuration.digests import file_digest
from experiments.records.checkout import CODE, ROOT, SUBMITTED, git, git_state
from experiments.records.outputs import writing

_CONFIG_DIR = "config-dir"


def run_from_copy(config: DictConfig, to_run: Callable[[], bool]) -> None:
    """Go on from a copy of the code, in this very process, where a launcher runs the jobs of a sweep elsewhere.

    Does nothing for the launcher `basic`, in a process that runs from a copy, and where no job is left to run.

    Args:
        config: of the sweep, with Hydra's own.
        to_run: checks the jobs, and says whether any is to be run; what it prints will be printed by the copy.

    Raises:
        SpecError: if a job is refused, or the outputs cannot be written to.
    """
    if config.hydra.runtime.choices["hydra/launcher"] == "basic" or (ROOT / SUBMITTED).is_file():
        return
    with contextlib.redirect_stdout(io.StringIO()):
        if not to_run():
            return
    line = CommandLine.of(sys.argv[1:])
    outputs = config.hydra.sweep.dir
    with writing(outputs):
        copy = copied(Path(outputs), line.config_dir)
    _announce(copy, config)
    _become(copy, line.with_config_dir(copy / _CONFIG_DIR) if line.config_dir else line)


def copied(outputs: Path, config_dir: Path | None) -> Path:
    """A copy of the code, with uncommitted changes, and of the folder of `--config-dir`.

    Returns:
        `outputs`/.code/DIGEST, which also says of which commit it is (`git_state` reads that).

    Raises:
        OSError: if it cannot be written.
    """
    folder = outputs.absolute() / ".code"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        code = Path(temporary) / "code"
        for name in _listed():
            _copy(ROOT / name, code / name)
        if config_dir is not None:
            shutil.copytree(config_dir, code / _CONFIG_DIR)
        sha, dirty = git_state()
        (code / SUBMITTED).write_text(json.dumps({"git_sha": sha, "git_dirty": dirty}), encoding="utf-8")
        return _named_by_content(code, folder)


def _listed() -> list[str]:
    """What git lists of the code, with what is not committed; outside a checkout, all but bytecode."""
    try:
        names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *CODE).split("\0")
    except (OSError, subprocess.CalledProcessError):
        paths = [path for part in CODE for path in (ROOT / part, *(ROOT / part).rglob("*")) if path.suffix != ".pyc"]
        names = [path.relative_to(ROOT).as_posix() for path in paths]
    return [name for name in names if (ROOT / name).is_file()]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o444)  # the folders stay writable: `rm -r` of the outputs needs that


def _named_by_content(code: Path, folder: Path) -> Path:
    files = sorted(path for path in code.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(code).as_posix()} {file_digest(path)}\n" for path in files]
    target = folder / hashlib.sha256("".join(lines).encode()).hexdigest()[:12]
    try:
        code.rename(target)
    except OSError:
        if not target.is_dir():  # another sweep has the same
            raise
    return target


def _announce(copy: Path, config: DictConfig) -> None:
    print(f"note: the jobs run the code as it is now, from {copy}")
    if "submitit_folder" in config.hydra.launcher:
        folder = str(config.hydra.launcher.submitit_folder).replace("%j", "JOB")
        print(f"note: what they print is in {folder}/JOB_0_log.out and JOB_0_log.err")


def _become(copy: Path, line: CommandLine) -> None:
    path = os.pathsep.join(filter(None, [str(copy), os.environ.get("PYTHONPATH")]))
    # Python would put the working directory, which may be the checkout, before the copy: `python -m submitit...` does.
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, str(copy / "run.py"), *line.flags, *line.overrides], environment)
