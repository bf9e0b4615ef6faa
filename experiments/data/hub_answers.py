"""What the hub answers when it is asked for a revision: a commit, or why there is none and what would be accepted.

It is asked once per process for each repository and revision, so that all jobs of a sweep load the same commit; a hub
that could not be reached is not tried again.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from experiments.data.requirements import Requirement
from experiments.errors import shorten

WAYS_ON = (
    "profile=embedded (no hub) | profile=local local=FOLDER (data and weights from a folder) | a network, or "
    "a mirror: HF_ENDPOINT=https://MIRROR python run.py ..."
)
ERRORS = (HTTPError, OSError, ValueError, KeyError, ImportError)
"""All that asking and downloading raise; ValueError and KeyError: no answer of a hub's, ImportError: a SOCKS proxy."""

_BUSY = (408, 429)
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Answer:
    """Where a revision is.

    Args:
        commit: 40 hexadecimal digits.
        gated: whether files are handed only to accounts that have accepted the repository's terms.
    """

    commit: str
    gated: bool = False


@dataclass(frozen=True)
class Refusal:
    """Why there is no commit, or no file of it.

    Args:
        key: the setting at fault, with its value.
        why: what is wrong.
        accepted: what would be accepted.
        down: whether the hub could not be asked, rather than that it has said no.
    """

    key: str
    why: str
    accepted: str = WAYS_ON
    down: bool = False


_ANSWERS: dict[tuple[str, str, str, str], Answer | Refusal] = {}
_UNREACHABLE: dict[str, str] = {}


def ask(requirement: Requirement, timeout: float) -> Answer | Refusal:
    """The commit that a revision is at, by the hub.

    Args:
        requirement: what is asked for.
        timeout: seconds after which a hub that does not answer counts as out of reach.
    """
    if constants.HF_HUB_OFFLINE:
        return Refusal(requirement.key, "offline mode (HF_HUB_OFFLINE), so that the hub was not asked", down=True)
    if constants.ENDPOINT in _UNREACHABLE:
        return Refusal(requirement.key, _UNREACHABLE[constants.ENDPOINT], down=True)
    question = _question(requirement)
    if question not in _ANSWERS:
        _ANSWERS[question] = _asked(requirement, timeout)
    return _ANSWERS[question]


def known_commit(requirement: Requirement) -> str | None:
    """What the hub has answered in this process; None where it has not been asked, or had no commit."""
    answer = _ANSWERS.get(_question(requirement))
    return answer.commit if isinstance(answer, Answer) else None


def access(requirement: Requirement, timeout: float) -> Refusal | None:
    """Why this account may not read a gated repository; None where it may, or where a mirror cannot tell.

    The hub tells the commits of gated repositories to everybody.
    """
    try:
        _within(timeout, lambda: HfApi().auth_check(requirement.repo, repo_type=requirement.kind))
    except GatedRepoError as error:
        return refusal(requirement, error, timeout)
    except ERRORS:  # the download will tell: a mirror need not know the question, and a token may yet be let in
        return None
    return None


def refusal(requirement: Requirement, error: BaseException, timeout: float) -> Refusal:
    """What an error of huggingface_hub means."""
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__  # raised where a download could not even begin, with the reason behind it
    endpoint = f"HF_ENDPOINT={constants.ENDPOINT}"
    match error:
        case GatedRepoError():
            terms = f"{constants.ENDPOINT}/{'datasets/' if requirement.kind == 'dataset' else ''}{requirement.repo}"
            why = f"gated, and {endpoint} does not hand it to this account ({_status(error)})"
            way = f"HF_TOKEN=TOKEN of an account that has accepted the terms on {terms} | {WAYS_ON}"
            return Refusal(requirement.key, why, way)
        case RevisionNotFoundError():
            why = f"{endpoint} has no such revision of the {requirement.kind} {requirement.repo}"
            return Refusal(requirement.revision_key, why, "a branch, tag or commit of it, such as main")
        case RepositoryNotFoundError():
            why = f"{endpoint} has no such {requirement.kind}, or it is private ({_status(error)})"
            return Refusal(requirement.key, why, f"OWNER/NAME of one that is there, HF_TOKEN=TOKEN | {WAYS_ON}")
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            why = f"{endpoint} does not let this account read it ({_status(error)})"
            return Refusal(requirement.key, why, f"HF_TOKEN=TOKEN of an account that may, or none | {WAYS_ON}")
        case HfHubHTTPError():
            down = error.response.status_code >= 500 or error.response.status_code in _BUSY
            return Refusal(requirement.key, f"{endpoint}: {_by_way()}it answered {_status(error)}", down=down)
        case HFValidationError():
            return Refusal(requirement.key, "not the name of a repository", "OWNER/NAME")
        case ValueError() | KeyError():
            return Refusal(requirement.key, f"{endpoint}: {_by_way()}what answers there is not a hub", down=True)
    return Refusal(requirement.key, f"{endpoint}: {_reason(error, timeout)}", down=True)


def _question(requirement: Requirement) -> tuple[str, str, str, str]:
    return constants.ENDPOINT, requirement.kind, requirement.repo, requirement.revision


def _asked(requirement: Requirement, timeout: float) -> Answer | Refusal:
    if not _address(constants.ENDPOINT):
        return Refusal(requirement.key, f"HF_ENDPOINT={constants.ENDPOINT} is not an address", down=True)
    repo, kind, revision = requirement.repo, requirement.kind, requirement.revision
    try:
        info = _within(timeout, lambda: HfApi().repo_info(repo, repo_type=kind, revision=revision, timeout=timeout))
    except ERRORS as error:
        refused = refusal(requirement, error, timeout)
        if refused.down and not isinstance(error, HfHubHTTPError):
            _UNREACHABLE[constants.ENDPOINT] = refused.why
        return refused
    return Answer(str(info.sha), bool(getattr(info, "gated", False)))


def _within(timeout: float, call: Callable[[], _Result]) -> _Result:
    """Call in a thread of its own: the resolution of a name, which nothing can interrupt, counts against the time-out.

    Raises:
        TimeoutError: if there is no result by then; whatever the call raises.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except ERRORS as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]


# Wording


def _status(error: HfHubHTTPError) -> str:
    response = error.response
    text = f"{response.status_code} {response.reason_phrase}".strip()
    return shorten(f"{text}: {error.server_message}" if error.server_message else text, 120)


def _reason(error: BaseException, timeout: float) -> str:
    """Why nothing came back, said of the proxy where there is one: all that the libraries see is its connection."""
    host = _address(_proxy() or constants.ENDPOINT)
    for cause in _causes(error):
        match cause:
            case socket.gaierror():
                return f"{_by_way()}the name {host.rpartition(':')[0]} does not resolve"
            case ConnectionRefusedError():
                return f"{_by_way()}{host} refuses the connection"
            case TimeoutError():
                return f"{_by_way()}no answer from {host} within {timeout:g} s (hub_timeout)"
    return _by_way() + (shorten(" ".join(str(error).split()).rstrip(".")) or type(error).__name__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _by_way() -> str:
    proxy = _proxy()
    return f"the proxy {_address(proxy)} on the way to it: " if proxy else ""


def _proxy() -> str | None:
    """The proxy that requests take, by HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY."""
    endpoint, proxies = urlsplit(constants.ENDPOINT), getproxies()
    proxy = proxies.get(endpoint.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(endpoint.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _address(url: str) -> str:
    """HOST:PORT of a URL, without the user's name and password; empty if it is no address."""
    with suppress(ValueError):
        parts = urlsplit(url)
        default = {"https": 443, "http": 80, "socks5": 1080, "socks5h": 1080}.get(parts.scheme)
        port = parts.port or default
        if port and default and parts.hostname and parts.hostname.encode("idna"):
            return f"{parts.hostname}:{port}"
    return ""
