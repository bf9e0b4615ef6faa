"""Whether what a run needs from the Hugging Face hub is cached or can be had, asked before anything is loaded.

The libraries retry for 20 to 50 seconds before they say that a hub cannot be reached; one TCP connection says it at
once. Imports neither torch nor transformers nor datasets.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import constants

from experiments.errors import SpecError

DEFAULT_TIMEOUT = 10.0
"""Seconds to wait for the hub, or for the proxy on the way to it."""

_WAYS_ON = (
    "accepted: profile=embedded (no hub) | profile=local local=FOLDER (data and weights from a folder) | a network, or "
    "a mirror: HF_ENDPOINT=https://MIRROR python run.py ..."
)
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?=\.)")


@dataclass(frozen=True)
class Requirement:
    """Something that a run needs from the hub.

    Args:
        kind: "model" (configuration, tokenizer and weights) or "dataset".
        repo: OWNER/NAME on the hub.
        revision: branch, tag or commit.
        name: the data set's configuration, which is the folder of its files in the repository; None: the root.
        splits: the data splits needed; empty: any one.
        files: the file of each split, in their order, where the repository does not name its files by splits.
        processor: what a model's folder must hold besides configuration and weights: "tokenizer" or "image".
    """

    kind: Literal["model", "dataset"]
    repo: str
    revision: str = constants.DEFAULT_REVISION
    name: str | None = None
    splits: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    processor: Literal["tokenizer", "image"] = "tokenizer"


def dataset(task: Mapping[str, Any]) -> list[Requirement]:
    """The data set of a run's `task` section, with the splits that a run reads.

    More than one where the hub has the rows in several configurations, which then all belong to the task.
    """
    source = task["hub"]
    splits = tuple(dict.fromkeys([*task["splits"].values(), *task.get("extra_test", {}).values()]))
    files = tuple(source["files"][split] for split in splits) if "files" in source else ()
    names = source["name"] if isinstance(source["name"], list) else [source["name"]]
    return [Requirement("dataset", source["path"], source["revision"], name, splits, files) for name in names]


def model(backbone: Mapping[str, Any]) -> Requirement:
    """The weights of a run's `backbone` section."""
    processor: Literal["tokenizer", "image"] = "image" if backbone.get("family") == "vision" else "tokenizer"
    return Requirement("model", backbone["hub"], backbone["revision"], processor=processor)


def check(requirements: Iterable[Requirement], timeout: float = DEFAULT_TIMEOUT) -> list[str]:
    """One line if something is neither cached nor to be had: what, where, why, and the ways on.

    Args:
        requirements: what the run needs; what is cached is not asked for.
        timeout: seconds after which a hub that does not answer counts as out of reach.
    """
    missing = [requirement for requirement in requirements if not is_cached(requirement)]
    if not missing:
        return []
    reason = _unreachable(timeout)
    return [_refusal(missing, reason)] if reason else []


def is_cached(requirement: Requirement) -> bool:
    """Whether a load with `local_files_only` would find everything."""
    return cached_folder(requirement) is not None


def cached_folder(requirement: Requirement) -> Path | None:
    """The cached folder that holds everything required, or None.

    For a model the snapshot in the hub cache (HF_HOME, HF_HUB_CACHE). For a data set the folder of its files there, or
    the Arrow files that the `datasets` library has made of them (HF_DATASETS_CACHE).
    """
    complete = _has_model if requirement.kind == "model" else _has_splits
    return next((folder for folder in _candidates(requirement) if complete(folder, requirement)), None)


def download(requirement: Requirement) -> Path:
    """The folder of a data set's files, from the cache where it is complete there, otherwise fetched into it.

    Raises:
        SpecError: if the hub does not hand it over, saying why and the ways on.
    """
    folder = cached_folder(requirement)
    if folder is not None:
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError

    prefix = f"{requirement.name}/" if requirement.name else ""
    patterns = [f"{prefix}{split}{separator}*" for split in requirement.splits for separator in "-."]
    patterns = [prefix + file for file in requirement.files] or patterns
    try:
        snapshot = snapshot_download(
            requirement.repo,
            repo_type="dataset",
            revision=requirement.revision,
            allow_patterns=patterns or prefix + "*",
        )
    except (HTTPError, OSError) as error:
        raise SpecError([_refusal([requirement], " ".join(str(error).split()).rstrip("."))]) from error
    folder = Path(snapshot, requirement.name or "")
    if not _has_splits(folder, requirement):
        splits = ", ".join(prefix + split for split in requirement.splits)
        wanted = (
            f"files {', '.join(requirement.files)}" if requirement.files else f"Parquet files of the splits {splits}"
        )
        raise SpecError([_refusal([requirement], f"it has no whole set of {wanted}")])
    return folder


def _refusal(missing: list[Requirement], reason: str) -> str:
    what = " and ".join(f"the {item.kind} {item.repo} (revision {item.revision})" for item in missing)
    pronoun = "it is" if len(missing) == 1 else "they are"
    return f"HF_ENDPOINT={constants.ENDPOINT}: no way to {what}: {reason}, and {pronoun} not cached; {_WAYS_ON}"


# The cache


def _candidates(requirement: Requirement) -> Iterator[Path]:
    """Folders that may hold it, in the order in which they are used."""
    repo = Path(constants.HF_HUB_CACHE, f"{requirement.kind}s--" + requirement.repo.replace("/", "--"))
    reference = repo / "refs" / requirement.revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else requirement.revision
    yield repo / "snapshots" / commit / (requirement.name or "")
    if requirement.kind == "dataset":
        yield from _arrow_folders(requirement)


def _arrow_folders(requirement: Requirement) -> list[Path]:
    """Prepared by `datasets` as <owner>___<data_set>/<configuration>/<version>/<commit>, newest first."""
    cache = Path(environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME, "datasets")).expanduser()
    # The library writes CamelCase names in snake_case.
    wanted = _plain(requirement.repo.replace("/", "___"))
    folders = [
        folder
        for data_set in (cache.iterdir() if cache.is_dir() else ())
        if _plain(data_set.name) == wanted
        for folder in data_set.glob(f"{requirement.name or 'default'}/*/*")
        if (folder / "dataset_info.json").is_file()
    ]
    if re.fullmatch(r"[0-9a-f]{40}", requirement.revision):
        folders = [folder for folder in folders if folder.name == requirement.revision]
    return sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _has_model(folder: Path, requirement: Requirement) -> bool:
    """Configuration, tokenizer and all shards of the weights; links that lead nowhere do not count."""
    images = requirement.processor == "image"
    if not (folder / "config.json").is_file():
        return False
    if not images and not any(path.is_file() for path in _tokenizer_files(folder)):
        return False
    for weights in ("model.safetensors",) if images else ("model.safetensors", "pytorch_model.bin"):
        if (folder / weights).is_file():
            return True
        index = folder / f"{weights}.index.json"
        if index.is_file():
            shards = set(re.findall(r'"([^"/]+\.(?:safetensors|bin))"', index.read_text(encoding="utf-8")))
            return all((folder / shard).is_file() for shard in shards)
    return False


def _tokenizer_files(folder: Path) -> list[Path]:
    return [*folder.glob("tokenizer*"), *folder.glob("vocab.*"), *folder.glob("*.model")]


def _has_splits(folder: Path, requirement: Requirement) -> bool:
    if requirement.files:
        return all((folder / file).is_file() for file in requirement.files)
    files = [path for path in folder.glob("*") if path.is_file() and path.suffix in (".parquet", ".arrow")]
    splits = requirement.splits or ("",)
    return all(_whole([path.name for path in files if holds_split(path, split)]) for split in splits)


def holds_split(path: Path, split: str) -> bool:
    """Whether a data file belongs to a split (or, for "", to any), by its name.

    `SPLIT.parquet`, `SPLIT-00000-of-00002.parquet`; Arrow files carry the data set's name in front: `NAME-SPLIT.arrow`.
    """
    stem = _SHARD.sub("", path.name).split(".")[0]
    return not split or stem == split or (path.suffix == ".arrow" and stem.endswith(f"-{split}"))


def _whole(names: list[str]) -> bool:
    """Whether there is a file, and every shard of those that say how many there are."""
    shards = [match for match in map(_SHARD.search, names) if match]
    totals = {int(match[2]) for match in shards}
    return bool(names) and all(sum(int(match[2]) == total for match in shards) >= total for total in totals)


# The network


def _unreachable(timeout: float) -> str | None:
    """Why the hub, or the proxy on the way to it, cannot be reached; None if it can."""
    if constants.HF_HUB_OFFLINE:
        return "offline mode (HF_HUB_OFFLINE), so it was not asked"
    endpoint = urlsplit(constants.ENDPOINT)
    proxies = getproxies()
    proxy = proxies.get(endpoint.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(endpoint.netloc):
        return _probe(endpoint.netloc, endpoint.scheme, timeout)
    address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    reason = _probe(address.netloc, address.scheme, timeout)
    return reason and f"the proxy on the way to it: {reason}"


def _probe(netloc: str, scheme: str, timeout: float) -> str | None:
    """Connect to host and port; the name's resolution, which nothing can interrupt, counts against the time-out."""
    try:
        split = urlsplit(f"//{netloc}")
        host, port = split.hostname, split.port or {"https": 443, "socks5": 1080, "socks5h": 1080}.get(scheme, 80)
    except ValueError:
        host, port = None, 0
    if not host:
        return f"{scheme}://{netloc} is not an address"
    answer: list[str | None] = []
    thread = threading.Thread(target=lambda: answer.append(_connect(host, port, timeout)), daemon=True)
    thread.start()
    thread.join(timeout)
    return answer[0] if answer else _silence(host, port, timeout)


def _silence(host: str, port: int, timeout: float) -> str:
    return f"no answer from {host}:{port} within {timeout:g} s (hub_timeout)"


def _connect(host: str, port: int, timeout: float) -> str | None:
    """Try every address of the name, sharing the time among those left; None once one accepts."""
    end = time.monotonic() + timeout
    try:
        addresses = list(dict.fromkeys((info[0], info[4]) for info in _resolve(host, port)))
    except (socket.gaierror, UnicodeError):
        return f"the name {host} does not resolve"
    reason: str | None = None
    for position, (family, address) in enumerate(addresses):
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(max(0.001, (end - time.monotonic()) / (len(addresses) - position)))
            try:
                connection.connect(address)
                return None
            except TimeoutError:
                reason = _silence(host, port, timeout)
            except ConnectionRefusedError:
                reason = reason or f"{host}:{port} refuses the connection"
            except OSError as error:
                reason = reason or f"{host}:{port}: {error.strerror or error}"
    return reason


def _resolve(host: str, port: int) -> list[tuple[Any, ...]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
