"""An empty cache, and a hub on the loopback address."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from experiments.data import hub_answers
from schema.sections import Backbone
from tests.hub_server import HubServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL_FILES = ("config.json", "tokenizer.json", "model.safetensors")


def written(folder: Path, *names: str, content: str = "{}") -> Path:
    """The folder, with files of the same content."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def snapshot(cache: Path, kind: str, repo: str, *files: str) -> Path:
    """A cache folder as huggingface_hub lays it out, with one commit behind `main`."""
    folder = cache / "hub" / f"{kind}s--{repo.replace('/', '--')}"
    written(folder, "refs/main", content=COMMIT)
    return written(folder / "snapshots" / COMMIT, *files)


def backbone(repo: str, family: str = "glue") -> Backbone:
    """The `backbone` section of a run whose weights are on the hub."""
    return Backbone(name="b", family=family, source="hub", hub=repo, target_modules=["query"], head=[])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, nothing asked so far, no token, no proxies, online."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in [*os.environ]:
        if name in ("HF_TOKEN", "HF_DATASETS_CACHE") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    forget(monkeypatch)
    return tmp_path


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do as a process that has asked nothing so far, and has read no proxies from the environment."""
    monkeypatch.setattr(hub_answers, "_ANSWERS", {})
    monkeypatch.setattr(hub_answers, "_UNREACHABLE", {})
    close_session()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Does what HF_ENDPOINT does when huggingface_hub is imported."""

    def point(url: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    return point


@pytest.fixture
def server(cache: Path, endpoint: Callable[[str], None]) -> Iterator[HubServer]:
    """A hub without repositories, to which HF_ENDPOINT points."""
    with HubServer() as running:
        endpoint(running.url)
        yield running


@pytest.fixture
def refused_port() -> int:
    """A port of the loopback address on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
