"""From a revision to a commit, from a commit to files: what the hub is asked, and what is said where it refuses."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

from experiments.data import hub
from experiments.data.hub import Requirement
from experiments.errors import SpecError
from tests.experiments.data.conftest import COMMIT, MODEL_FILES, backbone, forget, snapshot, written
from tests.hub_server import TOKEN, HubServer

ROOT = Path(__file__).resolve().parents[3]
GLUE = Requirement("dataset", "nyu-mll/glue", "main", "sst2", ("train", "validation"))
ROBERTA = Requirement("model", "FacebookAI/roberta-base")
PARQUET = tuple(f"sst2/{split}-00000-of-00001.parquet" for split in GLUE.splits)
WAYS_ON = ("profile=embedded", "profile=local local=FOLDER", "HF_ENDPOINT=https://MIRROR")

pytestmark = pytest.mark.usefixtures("cache")


def refused(requirement: Requirement, timeout: float = hub.DEFAULT_TIMEOUT) -> str:
    """The one line with which a requirement is refused."""
    with pytest.raises(SpecError) as error:
        hub.resolve(requirement, timeout)
    (line,) = error.value.errors
    assert "\n" not in line
    return line


@pytest.fixture
def commit(server: HubServer, tmp_path: Path) -> str:
    """The commit of ROBERTA on the hub."""
    return server.push("models", ROBERTA.repo, written(tmp_path / "roberta", *MODEL_FILES))


def asked(server: HubServer) -> list[str]:
    """The requests for a commit."""
    return [request for request in server.requests if "/revision/" in request]


# The commit


def test_a_branch_is_asked_for_once_in_a_process(server, commit):
    assert hub.resolve(ROBERTA) == hub.resolve(ROBERTA) == hub.Resolved(commit)
    assert asked(server) == ["GET /api/models/FacebookAI/roberta-base/revision/main"]


def test_a_branch_that_has_moved_is_another_commit_for_the_next_process_alone(server, commit, tmp_path, monkeypatch):
    assert hub.resolve(ROBERTA).commit == commit
    moved = server.push("models", ROBERTA.repo, written(tmp_path / "moved", *MODEL_FILES, content="{ }"))
    assert hub.resolve(ROBERTA).commit == commit
    forget(monkeypatch)
    assert hub.resolve(ROBERTA).commit == moved != commit


def test_a_cached_commit_is_itself_and_not_asked_for(server, cache):
    snapshot(cache, "model", ROBERTA.repo, *MODEL_FILES)
    assert hub.resolve(Requirement("model", ROBERTA.repo, COMMIT)) == hub.Resolved(COMMIT)
    assert server.requests == []


def test_a_commit_that_is_not_cached_must_be_on_the_hub(server, commit):
    assert hub.resolve(Requirement("model", ROBERTA.repo, commit)) == hub.Resolved(commit)
    assert refused(Requirement("model", ROBERTA.repo, "f" * 40)).startswith(f"backbone.revision={'f' * 40}: ")


def test_a_missing_repository_is_refused_although_it_is_cached(server, cache):
    snapshot(cache, "model", ROBERTA.repo, *MODEL_FILES)
    line = refused(ROBERTA)
    assert line.startswith("backbone.hub=FacebookAI/roberta-base: HF_ENDPOINT=http://127.0.0.1:")
    assert "has no such model, or it is private (401" in line
    for way in ("OWNER/NAME", "HF_TOKEN=TOKEN", *WAYS_ON):
        assert way in line.partition("accepted: ")[2]


def test_a_missing_data_set_names_its_own_key(server, commit):
    assert refused(Requirement("dataset", ROBERTA.repo)).startswith("task.hub.path=FacebookAI/roberta-base: ")


def test_a_missing_revision_is_not_a_missing_repository(server, commit):
    line = refused(Requirement("model", ROBERTA.repo, "v2"))
    assert line.startswith("backbone.revision=v2: ")
    assert "has no such revision of the model FacebookAI/roberta-base" in line


def test_what_is_no_name_is_not_asked_for(server):
    assert (
        refused(Requirement("model", "a/b/c"))
        == "backbone.hub=a/b/c: not the name of a repository; accepted: OWNER/NAME"
    )
    assert server.requests == []


def test_a_gated_repository_wants_a_token_and_its_terms_accepted(server, commit, monkeypatch):
    server.repositories["models", ROBERTA.repo].gated = True
    line = refused(ROBERTA)
    assert line.startswith("backbone.hub=FacebookAI/roberta-base: gated, and HF_ENDPOINT=")
    assert f"HF_TOKEN=TOKEN of an account that has accepted the terms on {server.url}/FacebookAI/roberta-base" in line
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert hub.resolve(ROBERTA).commit == commit


def test_a_gated_repository_that_is_cached_wants_no_token(server, commit, cache, monkeypatch):
    hub.folder(ROBERTA, commit)
    server.repositories["models", ROBERTA.repo].gated = True
    forget(monkeypatch)
    assert hub.resolve(ROBERTA).commit == commit


def test_a_token_that_the_hub_does_not_know(server, commit, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    line = refused(ROBERTA)
    assert "401 Unauthorized: Invalid credentials" in line
    assert "accepted: HF_TOKEN=TOKEN of an account that may, or none" in line
    assert "hf_unknown" not in line


# A hub that cannot be asked


def test_a_hub_that_fails_is_refused_and_said_to_have_failed(server, commit):
    server.failure = 500
    line = refused(ROBERTA)
    assert f"HF_ENDPOINT={server.url}: it answered 500 Internal Server Error, and not all that is required is" in line


@pytest.mark.parametrize("way", ["fails", "refuses"])
def test_without_the_hub_the_cache_answers_and_says_so(server, commit, way, endpoint, refused_port, monkeypatch):
    hub.resolve(ROBERTA)
    hub.folder(ROBERTA, commit)
    forget(monkeypatch)
    if way == "fails":
        server.failure = 503
    else:
        endpoint(f"http://127.0.0.1:{refused_port}")
    resolved = hub.resolve(ROBERTA)
    assert resolved.commit == commit
    why = (
        "it answered 503 Service Unavailable" if way == "fails" else f"127.0.0.1:{refused_port} refuses the connection"
    )
    assert resolved.note is not None
    assert resolved.note.endswith(f"{why}; what is cached is used")


def test_the_cache_answers_only_with_all_that_is_required(cache, endpoint, refused_port):
    endpoint(f"http://127.0.0.1:{refused_port}")
    folder = snapshot(cache, "model", ROBERTA.repo, *MODEL_FILES)
    assert hub.resolve(ROBERTA).commit == COMMIT
    (folder / "model.safetensors").unlink()
    assert "not all that is required is cached" in refused(ROBERTA)


def test_offline_mode_is_not_asked_and_needs_no_note(server, commit, cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "offline mode (HF_HUB_OFFLINE), so that the hub was not asked" in refused(ROBERTA)
    snapshot(cache, "model", ROBERTA.repo, *MODEL_FILES)
    assert hub.resolve(ROBERTA) == hub.Resolved(COMMIT)
    assert server.requests == []


def test_one_line_for_all_that_an_unreachable_hub_was_to_give(endpoint, refused_port):
    endpoint(f"http://127.0.0.1:{refused_port}")
    started = time.monotonic()
    with pytest.raises(SpecError) as error:
        hub.resolve_all([GLUE, ROBERTA])
    assert time.monotonic() - started < 1
    (line,) = error.value.errors
    assert line.startswith("task.hub.path=nyu-mll/glue and backbone.hub=FacebookAI/roberta-base: ")
    for part in (f"HF_ENDPOINT=http://127.0.0.1:{refused_port}: ", "refuses the connection", *WAYS_ON):
        assert part in line


def test_a_name_that_does_not_resolve(endpoint, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    endpoint("https://hub.invalid")
    assert "the name hub.invalid does not resolve" in refused(ROBERTA)


def test_silence_ends_with_the_time_out_and_is_not_waited_for_twice(endpoint, silent_port):
    endpoint(f"http://127.0.0.1:{silent_port}")
    started = time.monotonic()
    with pytest.raises(SpecError, match=rf"no answer from 127\.0\.0\.1:{silent_port} within 0\.4 s \(hub_timeout\)"):
        hub.resolve_all([ROBERTA, GLUE], timeout=0.4)
    assert 0.3 < time.monotonic() - started < 0.75


def test_a_resolver_that_hangs_ends_with_the_time_out(endpoint, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(10) and [])
    endpoint("https://hub.invalid")
    started = time.monotonic()
    line = refused(ROBERTA, timeout=0.2)
    release.set()
    assert time.monotonic() - started < 1
    assert "no answer from hub.invalid:443 within 0.2 s (hub_timeout)" in line


@pytest.mark.parametrize("url", ["https://host:port", "hub.invalid", "ftp://hub.invalid", "https://"])
def test_an_address_that_is_none(endpoint, url):
    endpoint(url)
    assert f"HF_ENDPOINT={url} is not an address" in refused(ROBERTA)


def test_an_address_where_something_else_answers(server, endpoint):
    endpoint(f"{server.url}/elsewhere")
    assert "it answered 404 Not Found" in refused(ROBERTA)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_hub_is_asked_through_the_proxy(server, commit, endpoint, monkeypatch, variable):
    endpoint("http://hub.invalid")
    monkeypatch.setenv(variable, server.url.replace("//", "//user:word@"))
    forget(monkeypatch)
    assert hub.resolve(ROBERTA).commit == commit


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_told_as_such(endpoint, monkeypatch, refused_port, scheme):
    endpoint(f"{scheme}://hub.invalid")
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://user:word@127.0.0.1:{refused_port}")
    forget(monkeypatch)
    line = refused(ROBERTA)
    at = f"127.0.0.1:{refused_port}"
    assert f"HF_ENDPOINT={scheme}://hub.invalid: the proxy {at} on the way to it: {at} refuses the connection" in line
    assert "word" not in line


def test_no_proxy_goes_straight_to_the_hub(server, commit, monkeypatch, refused_port):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{refused_port}")
    forget(monkeypatch)
    assert "the proxy" in refused(ROBERTA)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    forget(monkeypatch)
    assert hub.resolve(ROBERTA).commit == commit


# The files


def test_of_a_model_only_what_a_run_loads_is_fetched_and_once(server, tmp_path):
    others = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "consolidated.safetensors", "README.md")
    loaded = (*MODEL_FILES, "generation_config.json", "tokenizer_config.json", "vocab.txt", "merges.txt")
    original = ("original/tokenizer.model", "original/model.safetensors", "onnx/model.onnx")
    commit = server.push("models", ROBERTA.repo, written(tmp_path / "m", *others, *loaded, *original))
    folder = hub.folder(ROBERTA, commit)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*")} == set(loaded)
    server.requests.clear()
    assert hub.folder(ROBERTA, commit) == folder
    assert server.requests == []


def test_of_an_image_model_the_preprocessor_and_all_shards_are_fetched(server, tmp_path):
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    files = ("config.json", "preprocessor_config.json", *shards)
    written(tmp_path / "vit", *files, "tokenizer.json")
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    (tmp_path / "vit" / "model.safetensors.index.json").write_text(json.dumps(index))
    commit = server.push("models", "google/vit", tmp_path / "vit")
    vit = hub.model(backbone("google/vit", "vision"))
    assert {path.name for path in hub.folder(vit, commit).iterdir()} == {*files, "model.safetensors.index.json"}


def test_the_configuration_alone_is_enough_for_shapes(server, commit):
    folder = hub.folder(hub.configuration(backbone(ROBERTA.repo)), commit)
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert hub.cached_folder(ROBERTA, commit) is None


def test_a_data_set_is_fetched_at_the_commit_asked_for(server, tmp_path):
    first = server.push("datasets", GLUE.repo, written(tmp_path / "first", *PARQUET, "cola/train.parquet", content="1"))
    second = server.push("datasets", GLUE.repo, written(tmp_path / "second", *PARQUET, content="2"))
    for commit, content in ((second, "2"), (first, "1")):
        folder = hub.folder(GLUE, commit)
        assert {path.name: path.read_text() for path in folder.iterdir()} == {
            name.removeprefix("sst2/"): content for name in PARQUET
        }
    assert server.files_asked_for() == set(PARQUET)


def test_what_was_fetched_is_found_offline_at_the_revision_that_the_hub_named(server, commit, tmp_path, monkeypatch):
    moved = server.push("models", ROBERTA.repo, written(tmp_path / "moved", *MODEL_FILES, content="{ }"))
    hub.folder(ROBERTA, hub.resolve(ROBERTA).commit)
    hub.folder(ROBERTA, commit)  # an older one, by its commit: `main` stays where the hub has it
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    forget(monkeypatch)
    assert hub.resolve(ROBERTA).commit == moved
    assert hub.cached(ROBERTA) == hub.cached_folder(ROBERTA, moved)


def test_a_download_that_breaks_off_is_one_line_and_leaves_nothing_that_counts(server, commit, monkeypatch):
    # huggingface_hub waits a second before each of its attempts to go on.
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)
    server.cut["model.safetensors"] = 1
    with pytest.raises(
        SpecError, match=r"^backbone\.hub=FacebookAI/roberta-base: not downloaded: .*closed conn"
    ) as error:
        hub.folder(ROBERTA, commit)
    assert len(error.value.errors) == 1
    assert "\n" not in error.value.errors[0]
    assert hub.cached_folder(ROBERTA, commit) is None
    server.cut.clear()
    assert (hub.folder(ROBERTA, commit) / "model.safetensors").read_text() == "{}"


def test_pickled_weights_are_neither_fetched_nor_enough(server, tmp_path):
    folder = written(tmp_path / "m", "config.json", "tokenizer.json", "pytorch_model.bin")
    commit = server.push("models", ROBERTA.repo, folder)
    with pytest.raises(SpecError, match=r"it has no whole set of config\.json, a tokenizer and weights"):
        hub.folder(ROBERTA, commit)
    assert "pytorch_model.bin" not in server.files_asked_for()


def test_a_data_set_without_the_splits_is_refused(server, tmp_path):
    commit = server.push("datasets", GLUE.repo, written(tmp_path / "d", PARQUET[0]))
    with pytest.raises(SpecError, match="no whole set of Parquet files of the splits sst2/train, sst2/validation"):
        hub.folder(GLUE, commit)


def test_a_repository_that_is_gated_meanwhile_hands_out_nothing(server, commit):
    server.repositories["models", ROBERTA.repo].gated = True
    with pytest.raises(SpecError, match=r"^backbone\.hub=FacebookAI/roberta-base: not downloaded: gated"):
        hub.folder(ROBERTA, commit)


def test_the_module_is_light():
    heavy = ("torch", "transformers", "datasets")
    code = f"import sys; from experiments.data import hub; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
