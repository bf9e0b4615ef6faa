"""`python run.py ...` against a hub: a run, and every way in which the hub refuses one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.experiments.conftest import Runner
from tests.experiments.data.conftest import written
from tests.hub_server import HubServer

Run = Callable[..., "subprocess.CompletedProcess[str]"]
BACKBONE, DATA = ("models", "owner/tiny"), ("datasets", "nyu-mll/glue")
OVERRIDES = [
    "method=gpart",
    "task=glue/sst2",
    "d=64",
    "backbone=encoder",
    f"backbone.hub={BACKBONE[1]}",
    "backbone.max_length=32",
    "recipe=default",
    "recipe.epochs=1",
    "logger=disabled",
    "hub_timeout=3",
]


@pytest.fixture
def hub_with_all(server: HubServer, tiny_backbone: Path, tiny_glue: Path, tmp_path: Path) -> HubServer:
    """A hub with a tiny encoder, and with SST-2 in a file for each split."""
    for split in ("train", "validation"):
        (tmp_path / "glue" / "sst2").mkdir(parents=True, exist_ok=True)
        source = tiny_glue / "glue" / "sst2" / f"{split}.parquet"
        shutil.copy(source, tmp_path / "glue" / "sst2" / f"{split}-00000-of-00001.parquet")
    server.push(*DATA, tmp_path / "glue")
    server.push(*BACKBONE, tiny_backbone)
    return server


@pytest.fixture
def run(server: HubServer, run_py: Runner, tmp_path: Path) -> Run:
    """The command with HF_ENDPOINT at the hub and a cache of its own."""
    ours = ("HF_", "TRANSFORMERS_OFFLINE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours) and "proxy" not in key.lower()}
    environment = kept | {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    def command(*overrides: str, **variables: str) -> subprocess.CompletedProcess[str]:
        outputs = f"outputs={tmp_path / 'outputs'}"
        return run_py(*OVERRIDES, outputs, *overrides, env={**environment, **variables})

    return command


def records(tmp_path: Path) -> list[dict[str, object]]:
    """All records below outputs."""
    return [json.loads(path.read_text()) for path in sorted((tmp_path / "outputs").rglob("record.json"))]


def assert_refused(done: subprocess.CompletedProcess[str], tmp_path: Path, *parts: str) -> None:
    """One line on standard error with all the parts, status 2, nothing below outputs."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "; accepted: " in line
    for part in parts:
        assert part in line
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_run_from_the_hub_then_without_it(hub_with_all, run, tmp_path):
    done = run()
    assert done.returncode == 0, done.stderr
    (record,) = records(tmp_path)
    assert record["outcome"] == "ok"
    assert sum("/revision/main" in request for request in hub_with_all.requests) == 2  # data and weights, once each
    assert {"model.safetensors", "sst2/train-00000-of-00001.parquet"} <= hub_with_all.files_asked_for()

    hub_with_all.requests.clear()
    again = run()
    assert "already recorded, not run again" in again.stdout
    assert hub_with_all.files_asked_for() == set()

    hub_with_all.requests.clear()
    assert "already recorded, not run again" in run(HF_HUB_OFFLINE="1").stdout
    assert hub_with_all.requests == []

    hub_with_all.failure = 500
    without = run("rerun=true")
    assert without.returncode == 0, without.stderr
    (note,) = [line for line in without.stdout.splitlines() if "what is cached is used" in line]
    assert note.startswith(f"note: HF_ENDPOINT={hub_with_all.url}: it answered 500")


@pytest.mark.slow
def test_a_branch_that_has_moved_is_fetched_anew(hub_with_all, run, tmp_path, tiny_backbone):
    assert run().returncode == 0
    moved = shutil.copytree(tiny_backbone, tmp_path / "moved")
    (moved / "generation_config.json").write_text("{}")
    commit = hub_with_all.push(*BACKBONE, moved)
    hub_with_all.requests.clear()
    assert run("rerun=true").returncode == 0
    assert any(f"/resolve/{commit}/" in request for request in hub_with_all.requests)
    assert (tmp_path / "cache" / "hub" / "models--owner--tiny" / "refs" / "main").read_text() == commit


def test_a_gated_repository(hub_with_all, run, tmp_path):
    hub_with_all.repositories[BACKBONE].gated = True
    terms = f"accepted the terms on {hub_with_all.url}/owner/tiny"
    assert_refused(run(), tmp_path, "backbone.hub=owner/tiny: gated", "HF_TOKEN=TOKEN", terms)


def test_a_missing_repository(hub_with_all, run, tmp_path):
    del hub_with_all.repositories[DATA]
    assert_refused(run(), tmp_path, "task.hub.path=nyu-mll/glue: ", "has no such dataset, or it is private")


def test_an_endpoint_that_answers_500(hub_with_all, run, tmp_path):
    hub_with_all.failure = 500
    keys = "task.hub.path=nyu-mll/glue and backbone.hub=owner/tiny: "
    assert_refused(run(), tmp_path, keys, f"HF_ENDPOINT={hub_with_all.url}: it answered 500 Internal Server Error")


def test_a_proxy_that_is_dead(hub_with_all, run, tmp_path, refused_port):
    proxy = f"127.0.0.1:{refused_port}"
    assert_refused(run(HTTP_PROXY=f"http://{proxy}"), tmp_path, f"the proxy {proxy} on the way to it: ", "refuses")


@pytest.mark.slow
@pytest.mark.parametrize("file", ["model.safetensors", "train-00000-of-00001.parquet"])
def test_a_download_that_breaks_off(hub_with_all, run, tmp_path, file):
    hub_with_all.cut[file] = 100
    key = "backbone.hub=owner/tiny" if file == "model.safetensors" else "task.hub.path=nyu-mll/glue"
    assert_refused(run(), tmp_path, f"{key}: not downloaded: ", "peer closed connection")


@pytest.mark.slow
def test_a_plan_downloads_the_configuration_alone(hub_with_all, run, tmp_path):
    done = run("plan=true")
    assert done.returncode == 0, done.stderr
    assert hub_with_all.files_asked_for() == {"config.json"}


@pytest.mark.slow
def test_weights_that_are_only_pickled_are_refused(hub_with_all, run, tmp_path, tiny_backbone):
    pickled = shutil.copytree(tiny_backbone, tmp_path / "pickled")
    (pickled / "model.safetensors").unlink()
    hub_with_all.push(*BACKBONE, written(pickled, "pytorch_model.bin"))
    assert_refused(run(), tmp_path, "backbone.hub=owner/tiny: ", "no whole set of config.json, a tokenizer and weights")
    assert "pytorch_model.bin" not in hub_with_all.files_asked_for()
