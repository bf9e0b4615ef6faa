"""From what a run needs of the Hugging Face hub to a commit, and from a commit to a folder of files.

Imports neither torch nor transformers nor datasets: what cannot be had is refused before those are loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.utils import logging as hub_logging
from huggingface_hub.utils import tqdm

from experiments.data.hub_answers import ERRORS, Answer, Refusal, access, ask, known_commit, refusal
from experiments.data.hub_cache import cached_commit, cached_folder, is_complete, note_commit
from experiments.data.requirements import Requirement, configuration, dataset, model
from experiments.errors import SpecError

__all__ = [
    "DEFAULT_TIMEOUT",
    "Requirement",
    "Resolved",
    "cached",
    "cached_folder",
    "configuration",
    "dataset",
    "folder",
    "model",
    "resolve",
    "resolve_all",
]

DEFAULT_TIMEOUT = 10.0
"""Seconds to wait for the hub, or for the proxy on the way to it."""


@dataclass(frozen=True)
class Resolved:
    """What will be loaded.

    Args:
        commit: 40 hexadecimal digits.
        note: for the user, where the hub could not be reached and the cache has answered in its place.
    """

    commit: str
    note: str | None = None


def resolve(requirement: Requirement, timeout: float = DEFAULT_TIMEOUT) -> Resolved:
    """The commit of a requirement's revision, asked of the hub once per process.

    A cached commit is itself, without asking. In offline mode (HF_HUB_OFFLINE), and where the hub cannot be reached or
    fails, the cache answers, if all that is required is complete in it.

    Raises:
        SpecError: if there is no such repository or revision, if it is gated or private, or if neither the hub nor the
            cache has an answer.
    """
    return resolve_all([requirement], timeout)[0]


def resolve_all(requirements: Iterable[Requirement], timeout: float = DEFAULT_TIMEOUT) -> list[Resolved]:
    """`resolve` for each requirement, in their order.

    Raises:
        SpecError: one line for each thing wrong; a hub that cannot be reached is one thing, whatever is asked of it.
    """
    answers = [_resolved(requirement, timeout) for requirement in requirements]
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    if refused:
        raise SpecError(_lines(refused))
    return [answer for answer in answers if isinstance(answer, Resolved)]


def folder(requirement: Requirement, commit: str) -> Path:
    """The folder of what is required at a commit: the cached one if it is complete, otherwise fetched into the cache.

    Of a data set the folder of its configuration's files. Only the files that are required are fetched.

    Raises:
        SpecError: if the hub does not hand them over, or has not all of them.
    """
    return cached_folder(requirement, commit) or _downloaded(requirement, commit)


def cached(requirement: Requirement) -> Path | None:
    """The cached folder of what is required, or None; the hub is not asked.

    Its commit is the one that the hub has named in this process, or else that of the cache.
    """
    commit = known_commit(requirement) or cached_commit(requirement)
    return cached_folder(requirement, commit) if commit else None


def _resolved(requirement: Requirement, timeout: float) -> Resolved | Refusal:
    if requirement.is_pinned and cached_folder(requirement, requirement.revision):
        return Resolved(requirement.revision)
    answer = ask(requirement, timeout)
    if isinstance(answer, Refusal):
        return _from_cache(requirement, answer) if answer.down else answer
    refused = _withheld(requirement, answer, timeout)
    if refused is None:
        # Before the files are there, as they are often fetched by another process, which knows the commit alone.
        note_commit(requirement, answer.commit)
    return refused or Resolved(answer.commit)


def _from_cache(requirement: Requirement, answer: Refusal) -> Resolved | Refusal:
    commit = cached_commit(requirement)
    if commit is None:
        return replace(answer, why=f"{answer.why}, and not all that is required is cached")
    return Resolved(commit, None if constants.HF_HUB_OFFLINE else f"{answer.why}; what is cached is used")


def _withheld(requirement: Requirement, answer: Answer, timeout: float) -> Refusal | None:
    if not answer.gated or cached_folder(requirement, answer.commit):
        return None
    return access(requirement, timeout)


def _downloaded(requirement: Requirement, commit: str) -> Path:
    try:
        with _quiet():
            snapshot = snapshot_download(
                requirement.repo,
                repo_type=requirement.kind,
                revision=commit,
                allow_patterns=requirement.patterns,
                tqdm_class=_TerminalBar,
            )
    except ERRORS as error:
        refused = refusal(requirement, error, constants.HF_HUB_DOWNLOAD_TIMEOUT)
        raise SpecError(_lines([replace(refused, why=f"not downloaded: {refused.why}")])) from error
    found = Path(snapshot, requirement.name or "")
    if not is_complete(found, requirement):
        why = f"at commit {commit} it has no whole set of {requirement.wanted}"
        raise SpecError(_lines([Refusal(requirement.key, why)]))
    return found


class _TerminalBar(tqdm):
    """A progress bar that only a terminal shows, so that a log keeps to one line for an error."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"disable": None, **options})


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the report of each attempt to go on with a download: the last one's error says it all."""
    level = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
    try:
        yield
    finally:
        hub_logging.set_verbosity(level)


def _lines(refused: list[Refusal]) -> list[str]:
    keys: dict[tuple[str, str], list[str]] = {}
    for each in refused:
        keys.setdefault((each.why, each.accepted), []).append(each.key)
    return [
        f"{' and '.join(dict.fromkeys(names))}: {why}; accepted: {accepted}" for (why, accepted), names in keys.items()
    ]
