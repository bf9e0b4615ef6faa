"""A Hugging Face hub on the loopback address: folders as repositories with commits, over real HTTP.

It speaks the routes and headers that huggingface_hub 2.4 uses: repository information, tree listings, the check of
access, and files by HEAD and GET, large ones by way of a redirect to a storage under another name, as the hub does.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_accepted"
LARGE = (".safetensors", ".parquet", ".bin")
"""Suffixes of what the hub keeps in Git LFS."""


@dataclass
class Repository:
    """One repository: its commits as folders, and where its branches are."""

    commits: dict[str, Path] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit_of(self, revision: str) -> str | None:
        """The commit of a branch or of itself; None if there is none."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)


class HubServer(http.server.ThreadingHTTPServer):
    """A hub that can be told to fail.

    Attributes:
        repositories: by kind and name, such as ("models", "owner/name").
        failure: a status with which every request is answered; None: none.
        cut: a file's name to the number of its bytes after which the connection is closed, whoever asks.
        requests: every request so far, as "METHOD /path".
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.failure: int | None = None
        self.cut: dict[str, int] = {}
        self.requests: list[str] = []

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def push(self, kind: str, name: str, folder: Path, branch: str = "main") -> str:
        """Make a folder a commit of a repository ("models" or "datasets"), move the branch there, return the commit."""
        digest = hashlib.sha1()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
        repository = self.repositories.setdefault((kind, name), Repository())
        repository.commits[digest.hexdigest()] = folder
        repository.refs[branch] = digest.hexdigest()
        return digest.hexdigest()

    def files_asked_for(self) -> set[str]:
        """The names of the files, in whatever repository, that somebody has asked for."""
        places = (request.partition("/resolve/")[2] for request in self.requests)
        return {place.partition("/")[2] for place in places if place}


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        if self.server.failure:
            return self._refuse(self.server.failure)
        if self._token() not in (None, TOKEN):
            return self._refuse(401, message="Invalid credentials in Authorization header")
        if path.startswith("/storage/"):
            return self._send_file(Path(path.removeprefix("/storage")), {})
        if path.startswith(("/api/models/", "/api/datasets/")):
            return self._answer(*path.removeprefix("/api/").split("/", 1))
        if "/resolve/" not in path:
            return self._refuse(404)
        kind, rest = ("datasets", path[10:]) if path.startswith("/datasets/") else ("models", path[1:])
        name, _, place = rest.partition("/resolve/")
        return self._resolve(kind, name, *place.split("/", 1))

    def _answer(self, kind: str, rest: str) -> None:
        """The routes below /api/KIND: OWNER/NAME, then /revision/REVISION, /tree/REVISION or /auth-check."""
        owner, short, *place = rest.split("/", 3)
        name, (route, revision) = f"{owner}/{short}", [*place, "main", "main"][:2] if place else ("revision", "main")
        repository = self.server.repositories.get((kind, name))
        if repository is None:
            return self._missing()
        if route == "auth-check":
            return self._gate() if self._is_closed(repository) else self._send_json({})
        commit = repository.commit_of(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        files = [path for path in sorted(repository.commits[commit].rglob("*")) if path.is_file()]
        names = {path: path.relative_to(repository.commits[commit]).as_posix() for path in files}
        if route == "tree":
            return self._send_json([_entry(path, name) for path, name in names.items()])
        siblings = [{"rfilename": name} for name in names.values()]
        gated = "manual" if repository.gated else False
        return self._send_json({"id": name, "sha": commit, "gated": gated, "private": False, "siblings": siblings})

    def _resolve(self, kind: str, name: str, revision: str, file: str) -> None:
        repository = self.server.repositories.get((kind, name))
        if repository is None:
            return self._missing()
        if self._is_closed(repository):
            return self._gate()
        commit = repository.commit_of(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        path = repository.commits[commit] / file
        if not path.is_file():
            return self._refuse(404, "EntryNotFound")
        headers = {"X-Repo-Commit": commit}
        if path.suffix not in LARGE:
            return self._send_file(path, headers | {"ETag": f'"{_etag(path)}"'})
        headers |= {"X-Linked-Size": str(path.stat().st_size), "X-Linked-ETag": f'"{_etag(path)}"'}
        return self._send(302, b"", headers | {"Location": f"http://localhost:{self.server.server_port}/storage{path}"})

    def _send_file(self, path: Path, headers: dict[str, str]) -> None:
        """The file's bytes, or those that a Range asks for; cut off where the server was told to."""
        content, first = path.read_bytes(), 0
        if "Range" in self.headers:
            first = int(self.headers["Range"].removeprefix("bytes=").partition("-")[0])
            headers |= {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
        end = self.server.cut.get(path.name, len(content))
        self._send(206 if first else 200, content[first:], headers, content[first:end])

    def _token(self) -> str | None:
        authorization = self.headers.get("Authorization")
        return authorization and authorization.removeprefix("Bearer ")

    def _is_closed(self, repository: Repository) -> bool:
        return repository.gated and self._token() != TOKEN

    def _missing(self) -> None:
        """As the hub: without a token it does not say whether a repository is missing or private."""
        self._refuse(401 if self._token() is None else 404, "RepoNotFound", "Repository not found")

    def _gate(self) -> None:
        self._refuse(401, "GatedRepo", "Access to this repository is restricted")

    def _refuse(self, status: int, code: str = "", message: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self._send(status, b"{}", {key: value for key, value in headers.items() if value})

    def _send_json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str], sent: bytes | None = None) -> None:
        self.send_response(status, HTTPStatus(status).phrase)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body if sent is None else sent)
            self.close_connection = sent is not None and len(sent) < len(body)

    def log_message(self, *_: object) -> None:
        """Keep the requests out of the tests' output."""


def _etag(path: Path) -> str:
    """Of LFS files the SHA-256 of the content, of others git's id of the blob."""
    content = path.read_bytes()
    if path.suffix in LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def _entry(path: Path, name: str) -> dict[str, Any]:
    size = path.stat().st_size
    large = {"lfs": {"oid": _etag(path), "size": size, "pointerSize": 130}} if path.suffix in LARGE else {}
    return {"type": "file", "path": name, "size": size, "oid": hashlib.sha1(name.encode()).hexdigest(), **large}
