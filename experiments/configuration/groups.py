"""The config groups: folders of YAML files below conf/, `--config-dir` and the folders of `hydra.searchpath`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import yaml

CONF = Path(__file__).resolve().parents[2] / "conf"
PRIMARY = "config"
"""The primary configuration, conf/config.yaml."""

_FURTHER = "GPART_CONFIG_DIRS"
"""The variable that holds the folders: the processes in which a launcher runs jobs compose as well, and inherit it."""


@contextmanager
def searched(*folders: Path) -> Iterator[None]:
    """Within the block, here and in processes that it starts, `options` and `found` look below `folders` as well.

    conf/ comes first, as it does for Hydra.
    """
    before = os.environ.pop(_FURTHER, None)
    if folders:
        os.environ[_FURTHER] = json.dumps([str(folder) for folder in folders])
    try:
        yield
    finally:
        os.environ.pop(_FURTHER, None)
        if before is not None:
            os.environ[_FURTHER] = before


def further_folders() -> list[Path]:
    """The folders besides conf/ in which options are looked for at present."""
    return [Path(folder) for folder in json.loads(os.environ.get(_FURTHER, "[]"))]


def _folders() -> list[Path]:
    return [CONF, *further_folders()]


@cache
def groups() -> dict[str, bool]:
    """The groups of conf/config.yaml's defaults list, and whether a run can do without a choice.

    The other folders below conf/ hold data of their own: benches, searches, prompts.
    """
    listed = yaml.safe_load((CONF / f"{PRIMARY}.yaml").read_text(encoding="utf-8"))["defaults"]
    entries = [key.split() for entry in listed if isinstance(entry, dict) for key in entry]
    return {words[-1]: words[0] == "optional" for words in entries if words[0] != "override"}


def options(group: str) -> list[str]:
    """The choices of a group: its YAML files, without their suffix.

    A name that begins with an underscore is a part that others include, not a choice.
    """
    folders = [folder / group for folder in _folders()]
    files = [(folder, path) for folder in folders for path in folder.rglob("*.yaml") if not path.name.startswith("_")]
    return sorted({path.relative_to(folder).with_suffix("").as_posix() for folder, path in files})


def found(group: str, name: str) -> Path | None:
    """The file of a group's choice; None if it is not among the group's options."""
    files = [folder / group / f"{name}.yaml" for folder in _folders() if name in options(group)]
    return next((path for path in files if path.is_file()), None)
