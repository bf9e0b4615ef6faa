"""What lies in the local cache of the hub, complete or not; nothing here asks the network.

Two libraries fill it: huggingface_hub with the files of a repository by commit (HF_HOME, HF_HUB_CACHE), and `datasets`
with the Arrow files that it has made of them (HF_DATASETS_CACHE).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from os import environ
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, RevisionResolutionError
from huggingface_hub.file_download import repo_folder_name

from experiments.data import shards
from experiments.data.requirements import CONFIGURATION, INDEX, WEIGHTS, Requirement

_VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model")
"""Files without one of which there is no tokenizer, whatever else is there."""


def cached_folder(requirement: Requirement, commit: str) -> Path | None:
    """The cached folder that holds everything required at a commit, or None.

    For a data set the folder of its configuration's files, or of the Arrow files made of them.
    """
    return next((folder for folder in _candidates(requirement, commit) if is_complete(folder, requirement)), None)


def cached_commit(requirement: Requirement) -> str | None:
    """The commit at which everything required is cached, or None.

    Of several the one that the cache notes for the revision, otherwise that of the newest Arrow files.
    """
    commits = [requirement.revision] if requirement.is_pinned else list(_noted_commits(requirement))
    return next((commit for commit in commits if cached_folder(requirement, commit)), None)


def note_commit(requirement: Requirement, commit: str) -> None:
    """Note in the cache that the revision is at a commit, so that it is found when the hub is not.

    `snapshot_download` does so only where it resolves the revision itself. A cache that cannot be written stays.
    """
    if requirement.is_pinned:
        return
    reference = _repo_cache(requirement) / "refs" / requirement.revision
    temporary = reference.with_name(f"{reference.name}.{os.getpid()}")
    with suppress(OSError):
        reference.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(commit, encoding="utf-8")
        temporary.replace(reference)


def is_complete(folder: Path, requirement: Requirement) -> bool:
    """Whether a folder holds everything required; links that lead nowhere do not count."""
    if requirement.files:
        return all((folder / file).is_file() for file in requirement.files)
    return _has_model(folder, requirement) if requirement.kind == "model" else _has_splits(folder, requirement)


def _repo_cache(requirement: Requirement) -> Path:
    name = repo_folder_name(repo_id=requirement.repo, repo_type=requirement.kind)
    return Path(constants.HF_HUB_CACHE, name)


def _candidates(requirement: Requirement, commit: str) -> Iterator[Path]:
    snapshot = _snapshot(requirement, commit)
    if snapshot is not None:
        yield snapshot / (requirement.name or "")
    yield from (folder for folder in _arrow_folders(requirement) if folder.name == commit)


def _snapshot(requirement: Requirement, commit: str) -> Path | None:
    """The folder of a commit; None also where a download of it is known to have broken off."""
    with suppress(LocalEntryNotFoundError, HFValidationError):
        return Path(
            snapshot_download(
                requirement.repo,
                repo_type=requirement.kind,
                revision=commit,
                allow_patterns=requirement.patterns,
                local_files_only=True,
            )
        )
    return None


def _noted_commits(requirement: Requirement) -> Iterator[str]:
    with suppress(RevisionResolutionError, HFValidationError):
        noted = HfApi().resolve_revision(
            requirement.repo, repo_type=requirement.kind, revision=requirement.revision, local_files_only=True
        )
        yield noted.resolved
    yield from (folder.name for folder in _arrow_folders(requirement) if re.fullmatch("[0-9a-f]{40}", folder.name))


def _arrow_folders(requirement: Requirement) -> list[Path]:
    """Prepared by `datasets` as <owner>___<data_set>/<configuration>/<version>/<commit>, newest first."""
    cache = Path(environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME, "datasets")).expanduser()
    if requirement.kind != "dataset" or not cache.is_dir():
        return []
    # The library writes CamelCase names in snake_case.
    wanted = _plain(requirement.repo.replace("/", "___"))
    folders = [
        folder
        for data_set in cache.iterdir()
        if _plain(data_set.name) == wanted
        for folder in data_set.glob(f"{requirement.name or 'default'}/*/*")
        if (folder / "dataset_info.json").is_file()
    ]
    return sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _has_model(folder: Path, requirement: Requirement) -> bool:
    if not (folder / CONFIGURATION).is_file() or not _has_weights(folder):
        return False
    return requirement.processor == "image" or any(
        path.is_file() for name in _VOCABULARIES for path in folder.glob(name)
    )


def _has_weights(folder: Path) -> bool:
    if (folder / WEIGHTS).is_file():
        return True
    try:
        shards = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
    except (OSError, ValueError, KeyError):
        return False
    return all((folder / shard).is_file() for shard in shards)


def _has_splits(folder: Path, requirement: Requirement) -> bool:
    files = [path for path in sorted(folder.glob("*")) if path.is_file() and path.suffix in (".parquet", ".arrow")]
    if not requirement.splits:
        return bool(files)
    splits = ([path.name for path in files if shards.holds_split(path, split)] for split in requirement.splits)
    return all(names and shards.fault(names) is None for names in splits)
