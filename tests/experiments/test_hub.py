"""What is cached is not asked for; what is not is asked for once, and the answer says what to do."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from omegaconf import OmegaConf

from experiments.data import files, hub, sources
from experiments.data.hub import Requirement
from experiments.errors import SpecError

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
GLUE = Requirement("dataset", "nyu-mll/glue", "main", "sst2", ("train", "validation"))
ROBERTA = Requirement("model", "FacebookAI/roberta-base")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no proxies, online."""
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub.constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    return tmp_path


class Listener:
    """A TCP server on the loopback that counts who connects."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.socket.close()


@pytest.fixture
def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose queue is full: connections to it are neither accepted nor refused."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address, waiting = server.getsockname(), []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(address)
            waiting.append(client)
        time.sleep(0.05)
        yield address[1]
        for client in waiting:
            client.close()


def parquet(rows: dict[str, list]) -> bytes:
    buffer = io.BytesIO()
    pa.parquet.write_table(pa.table(rows), buffer)
    return buffer.getvalue()


MIRRORED = {
    "sst2/train-00000-of-00001.parquet": parquet({"sentence": ["a", "b"] * 20, "label": [0, 1] * 20}),
    "sst2/validation-00000-of-00001.parquet": parquet({"sentence": ["c", "d"], "label": [0, 1]}),
    "cola/train-00000-of-00001.parquet": parquet({"sentence": ["e"], "label": [0]}),
}


class Mirror(http.server.BaseHTTPRequestHandler):
    """The part of the hub's interface that a snapshot needs, for one data set."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, headers = self.path.partition("?")[0], {"Content-Type": "application/json"}
        files = [{"type": "file", "path": name, "size": len(body), "oid": COMMIT} for name, body in MIRRORED.items()]
        if path.startswith("/api/datasets/nyu-mll/glue/revision/"):
            names = [{"rfilename": name} for name in MIRRORED]
            body = json.dumps({"id": "nyu-mll/glue", "sha": COMMIT, "siblings": names}).encode()
        elif path.startswith("/api/datasets/nyu-mll/glue/tree/"):
            body = json.dumps(files).encode()
        else:
            name = path.partition(f"/datasets/nyu-mll/glue/resolve/{COMMIT}/")[2]
            if name not in MIRRORED:
                self.send_error(404)
                return
            body = MIRRORED[name]
            self.server.delivered.append(name)
            headers = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the requests out of the tests' output."""


@pytest.fixture
def mirror() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.delivered, server.url = [], f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def endpoint(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What HF_ENDPOINT sets when huggingface_hub is imported."""
    monkeypatch.setattr(hub.constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def snapshot(cache: Path, kind: str, repo: str, *files: str) -> Path:
    """A cache folder as huggingface_hub lays it out, with one commit behind `main`."""
    folder = cache / "hub" / f"{kind}s--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(COMMIT)
    for name in files:
        path = folder / "snapshots" / COMMIT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return folder / "snapshots" / COMMIT


def test_a_refused_connection_is_reported_at_once_with_the_ways_on(monkeypatch, refused_port):
    endpoint(monkeypatch, f"http://127.0.0.1:{refused_port}")
    started = time.monotonic()
    (error,) = hub.check([GLUE, ROBERTA])
    assert time.monotonic() - started < 1
    assert "\n" not in error
    for part in (
        f"HF_ENDPOINT=http://127.0.0.1:{refused_port}",
        "nyu-mll/glue",
        "FacebookAI/roberta-base",
        "refuses the connection",
        "profile=embedded",
        "profile=local local=FOLDER",
        "HF_ENDPOINT=https://MIRROR",
    ):
        assert part in error


def test_a_name_that_does_not_resolve(monkeypatch):
    def fails(*_):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: fails())
    endpoint(monkeypatch, "https://hub.invalid")
    (error,) = hub.check([ROBERTA])
    assert "the name hub.invalid does not resolve" in error


def test_packets_that_vanish_end_with_the_time_out(monkeypatch, silent_port):
    endpoint(monkeypatch, f"http://127.0.0.1:{silent_port}")
    started = time.monotonic()
    (error,) = hub.check([ROBERTA], timeout=0.4)
    assert 0.3 < time.monotonic() - started < 1.5
    assert f"no answer from 127.0.0.1:{silent_port} within 0.4 s (hub_timeout)" in error


def test_a_resolver_that_hangs_ends_with_the_time_out(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(10) and [])
    endpoint(monkeypatch, "https://hub.invalid")
    started = time.monotonic()
    (error,) = hub.check([ROBERTA], timeout=0.2)
    release.set()
    assert time.monotonic() - started < 1
    assert "no answer from hub.invalid:443 within 0.2 s" in error


def test_every_address_of_a_name_is_tried_within_the_time_out(monkeypatch, listener, silent_port):
    addresses = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (silent_port, listener.port)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    endpoint(monkeypatch, "http://hub.invalid")
    assert hub.check([ROBERTA], timeout=0.6) == []


def test_offline_mode_is_not_asked(monkeypatch, listener):
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    endpoint(monkeypatch, f"http://127.0.0.1:{listener.port}")
    (error,) = hub.check([ROBERTA])
    assert "offline mode (HF_HUB_OFFLINE), so it was not asked" in error
    assert listener.connections == 0


def test_a_mirror_that_answers_is_enough(monkeypatch, listener):
    endpoint(monkeypatch, f"http://127.0.0.1:{listener.port}")
    assert hub.check([GLUE, ROBERTA]) == []


def test_an_address_that_is_none(monkeypatch):
    endpoint(monkeypatch, "https://host:port")
    assert "https://host:port is not an address" in hub.check([ROBERTA])[0]


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_with_a_proxy_the_proxy_is_probed(monkeypatch, listener, variable):
    endpoint(monkeypatch, "http://hub.invalid")
    monkeypatch.setenv(variable, f"http://user:word@127.0.0.1:{listener.port}")
    assert hub.check([ROBERTA]) == []


def test_a_proxy_that_refuses_is_named(monkeypatch, refused_port):
    endpoint(monkeypatch, "https://hub.invalid")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{refused_port}")
    (error,) = hub.check([ROBERTA])
    assert f"the proxy on the way to it: 127.0.0.1:{refused_port} refuses the connection" in error


def test_no_proxy_goes_straight_to_the_hub(monkeypatch, listener, refused_port):
    endpoint(monkeypatch, f"http://127.0.0.1:{listener.port}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{refused_port}")
    assert hub.check([ROBERTA])
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert hub.check([ROBERTA]) == []


def test_cached_things_are_not_asked_for(monkeypatch, cache, listener):
    endpoint(monkeypatch, f"http://127.0.0.1:{listener.port}")
    model = snapshot(cache, "model", ROBERTA.repo, "config.json", "tokenizer.json", "model.safetensors")
    data = snapshot(cache, "dataset", GLUE.repo, *(f"sst2/{s}-00000-of-00001.parquet" for s in GLUE.splits))
    assert hub.check([GLUE, ROBERTA]) == []
    time.sleep(0.05)
    assert listener.connections == 0
    assert hub.cached_folder(ROBERTA) == model
    assert hub.download(GLUE) == data / "sst2"


def test_a_commit_is_found_without_a_reference(cache):
    snapshot(cache, "model", ROBERTA.repo, "config.json", "vocab.json", "pytorch_model.bin")
    assert hub.is_cached(Requirement("model", ROBERTA.repo, COMMIT))
    assert not hub.is_cached(Requirement("model", ROBERTA.repo, "v2"))


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model-00002-of-00002.safetensors"])
def test_an_incomplete_model_is_not_cached(cache, missing):
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    folder = snapshot(cache, "model", ROBERTA.repo, "config.json", "tokenizer.json", *shards)
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert hub.is_cached(ROBERTA)
    (folder / missing).unlink()
    assert not hub.is_cached(ROBERTA)


def test_a_link_that_leads_nowhere_is_not_cached(cache):
    folder = snapshot(cache, "model", ROBERTA.repo, "config.json", "tokenizer.json")
    (folder / "model.safetensors").symlink_to(cache / "blobs" / "gone")
    assert not hub.is_cached(ROBERTA)


@pytest.mark.parametrize("missing", ["train-00001-of-00002.parquet", "validation-00000-of-00001.parquet"])
def test_an_incomplete_data_set_is_not_cached(cache, missing):
    names = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "validation-00000-of-00001.parquet"]
    folder = snapshot(cache, "dataset", GLUE.repo, *(f"sst2/{name}" for name in names))
    assert hub.is_cached(GLUE)
    (folder / "sst2" / missing).unlink()
    assert not hub.is_cached(GLUE)


def test_the_arrow_cache_of_the_datasets_library_counts(cache, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache / "arrow"))
    folder = cache / "arrow" / "nyu-mll___glue" / "sst2" / "0.0.0" / COMMIT
    folder.mkdir(parents=True)
    for name in ("glue-train.arrow", "glue-validation.arrow", "dataset_info.json"):
        (folder / name).write_text("{}")
    assert hub.cached_folder(GLUE) == folder
    assert hub.is_cached(Requirement("dataset", GLUE.repo, COMMIT, "sst2", GLUE.splits))
    assert not hub.is_cached(Requirement("dataset", GLUE.repo, "f" * 40, "sst2", GLUE.splits))
    assert not hub.is_cached(Requirement("dataset", GLUE.repo, "main", "cola", GLUE.splits))


def test_a_download_cut_off_says_why(monkeypatch, listener):
    endpoint(monkeypatch, f"http://127.0.0.1:{listener.port}")
    with pytest.raises(SpecError, match=r"nyu-mll/glue.*, and it is not cached; accepted: profile=embedded"):
        hub.download(GLUE)
    assert listener.connections


def test_a_mirror_delivers_the_rows_once(monkeypatch, mirror):
    endpoint(monkeypatch, mirror.url)
    data = {"source": "hub", "path": None, "train_rows": None, "test_rows": None}
    task = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "task" / "glue" / "sst2.yaml"))
    assert hub.check(hub.dataset(task)) == []
    splits = sources.load(task, data, {"split": 0}, "heldout")
    assert (len(splits.train), len(splits.selection), len(splits.tests["test"])) == (32, 8, 2)
    assert {name for name in mirror.delivered if "/" in name} == set(MIRRORED) - {"cola/train-00000-of-00001.parquet"}
    mirror.delivered.clear()
    assert sources.load(task, data, {"split": 0}, "heldout").fingerprints() == splits.fingerprints()
    assert mirror.delivered == []


def test_a_mirror_without_the_splits_is_refused(monkeypatch, mirror):
    endpoint(monkeypatch, mirror.url)
    requirement = Requirement("dataset", "nyu-mll/glue", "main", "cola", ("train", "validation"))
    with pytest.raises(SpecError, match="no whole set of Parquet files of the splits cola/train, cola/validation"):
        hub.download(requirement)


def test_the_module_is_light():
    heavy = ("torch", "transformers", "datasets")
    code = f"import sys; from experiments.data import hub; print([name for name in {heavy} if name in sys.modules])"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - started < 1


@pytest.mark.slow
def test_a_cached_model_loads_from_its_folder_without_a_connection(cache, listener, shared_data):
    # By name, transformers asks for an adapter_config.json even with local_files_only; by folder it asks for nothing.
    folder = snapshot(cache, "model", "sentence-transformers/all-MiniLM-L6-v2")
    folder.mkdir(parents=True)
    for path in (shared_data / "minilm-l6").iterdir():
        shutil.copy(path, folder / path.name)
    code = (
        "import gpart\n"
        "from experiments.data import hub\n"
        "from transformers import AutoModel, AutoTokenizer\n"
        "requirement = hub.Requirement('model', 'sentence-transformers/all-MiniLM-L6-v2')\n"
        "assert hub.check([requirement]) == []\n"
        "folder = str(hub.cached_folder(requirement))\n"
        "AutoTokenizer.from_pretrained(folder)\n"
        "AutoModel.from_pretrained(folder)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "HF_HUB_CACHE")}
    environment |= {"HF_HOME": str(cache), "HF_ENDPOINT": f"http://127.0.0.1:{listener.port}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert listener.connections == 0


def test_a_data_set_in_several_configurations_and_one_with_a_file_of_its_own_name(cache: Path) -> None:
    source = {"path": "owner/math", "name": ["algebra", "geometry"], "revision": "main"}
    parts = {"splits": {"test": "test"}, "hub": source}
    for place, name in enumerate(["algebra", "geometry"]):
        folder = cache / "hub" / "datasets--owner--math" / "snapshots" / "main" / name
        folder.mkdir(parents=True)
        rows = pa.table({"problem": [f"{place}.{row}" for row in range(2)]})
        pyarrow.parquet.write_table(rows, folder / "test-00000-of-00001.parquet")
    found = files.cached_hub_files(parts, "test")
    assert found is not None
    assert files.table(found, ["problem"], [])["problem"].to_pylist() == ["0.0", "0.1", "1.0", "1.1"]

    named = {
        "splits": {"train": "train"},
        "hub": {"path": "owner/one", "name": None, "revision": "main", "files": {"train": "All-395K.json"}},
    }
    assert files.cached_hub_files(named, "train") is None
    file = cache / "hub" / "datasets--owner--one" / "snapshots" / "main" / "All-395K.json"
    file.parent.mkdir(parents=True)
    file.write_text('[{"query": "q", "response": "r"}]')
    assert files.cached_hub_files(named, "train") == [file]


def test_an_image_model_needs_no_tokenizer_but_safetensors(cache: Path) -> None:
    vit = hub.model({"hub": "google/vit", "revision": "main", "family": "vision"})
    folder = cache / "hub" / "models--google--vit" / "snapshots" / "main"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"")
    assert not hub.is_cached(vit)
    (folder / "model.safetensors").write_bytes(b"")
    assert hub.is_cached(vit)
