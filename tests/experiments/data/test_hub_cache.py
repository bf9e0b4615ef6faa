"""What counts as cached: everything required, at the very commit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from experiments.data import hub
from experiments.data.hub import Requirement
from experiments.data.hub_cache import cached_commit, cached_folder, note_commit
from tests.experiments.data.conftest import COMMIT, MODEL_FILES, backbone, snapshot, written

ROOT = Path(__file__).resolve().parents[3]
GLUE = Requirement("dataset", "nyu-mll/glue", "main", "sst2", ("train", "validation"))
ROBERTA = Requirement("model", "FacebookAI/roberta-base")
OTHER = "f" * 40

pytestmark = pytest.mark.usefixtures("cache")


def test_a_model_is_found_at_its_commit_and_at_no_other(cache):
    folder = snapshot(cache, "model", ROBERTA.repo, *MODEL_FILES)
    assert cached_folder(ROBERTA, COMMIT) == folder
    assert cached_folder(ROBERTA, OTHER) is None
    assert cached_commit(ROBERTA) == COMMIT
    assert cached_commit(Requirement("model", ROBERTA.repo, COMMIT)) == COMMIT
    assert cached_commit(Requirement("model", ROBERTA.repo, "v2")) is None


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model-00002-of-00002.safetensors"])
def test_an_incomplete_model_is_not_cached(cache, missing):
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    folder = snapshot(cache, "model", ROBERTA.repo, "config.json", "tokenizer.json", "tokenizer_config.json", *shards)
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert cached_folder(ROBERTA, COMMIT) == folder
    (folder / missing).unlink()
    assert cached_folder(ROBERTA, COMMIT) is None


@pytest.mark.parametrize("index", ["", "[", "{}"])
def test_a_damaged_index_is_no_model(cache, index):
    folder = snapshot(cache, "model", ROBERTA.repo, "config.json", "tokenizer.json")
    (folder / "model.safetensors.index.json").write_text(index)
    assert cached_folder(ROBERTA, COMMIT) is None


def test_pickled_weights_do_not_count(cache):
    snapshot(cache, "model", ROBERTA.repo, "config.json", "tokenizer.json", "pytorch_model.bin")
    assert cached_folder(ROBERTA, COMMIT) is None


def test_a_link_that_leads_nowhere_is_not_cached(cache):
    folder = snapshot(cache, "model", ROBERTA.repo, "config.json", "tokenizer.json")
    (folder / "model.safetensors").symlink_to(cache / "blobs" / "gone")
    assert cached_folder(ROBERTA, COMMIT) is None


def test_an_image_model_needs_no_tokenizer(cache):
    vit = hub.model(backbone("google/vit", "vision"))
    folder = snapshot(cache, "model", "google/vit", "config.json", "model.safetensors")
    assert cached_folder(vit, COMMIT) == folder
    assert cached_folder(hub.model(backbone("google/vit")), COMMIT) is None


@pytest.mark.parametrize("missing", ["train-00001-of-00002.parquet", "validation-00000-of-00001.parquet"])
def test_an_incomplete_data_set_is_not_cached(cache, missing):
    names = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "validation-00000-of-00001.parquet"]
    folder = snapshot(cache, "dataset", GLUE.repo, *(f"sst2/{name}" for name in names)) / "sst2"
    assert cached_folder(GLUE, COMMIT) == folder
    (folder / missing).unlink()
    assert cached_folder(GLUE, COMMIT) is None


def test_the_arrow_files_of_the_datasets_library_count(cache, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache / "arrow"))
    names = ("glue-train.arrow", "glue-validation.arrow", "dataset_info.json")
    folder = written(cache / "arrow" / "nyu-mll___glue" / "sst2" / "0.0.0" / COMMIT, *names)
    assert cached_folder(GLUE, COMMIT) == folder
    assert cached_folder(GLUE, OTHER) is None
    assert cached_commit(GLUE) == COMMIT
    assert cached_commit(Requirement("dataset", GLUE.repo, "main", "cola", GLUE.splits)) is None


def test_the_commit_is_that_of_the_newest_arrow_files_that_are_complete(cache):
    names = ("glue-train.arrow", "glue-validation.arrow", "dataset_info.json")
    versions = cache / "datasets" / "nyu-mll___glue" / "sst2" / "0.0.0"
    for age, commit in enumerate((COMMIT, OTHER, "not-a-commit")):
        os.utime(written(versions / commit, *names), (1000 + age, 1000 + age))
    assert cached_commit(GLUE) == OTHER
    (versions / OTHER / "glue-train.arrow").unlink()
    assert cached_commit(GLUE) == COMMIT


def test_a_noted_commit_is_the_revisions_and_a_pinned_one_is_not_noted(cache):
    snapshot(cache, "model", ROBERTA.repo, *MODEL_FILES)
    branch, pinned = (Requirement("model", ROBERTA.repo, revision) for revision in ("refs/pr/1", COMMIT))
    assert cached_commit(branch) is None
    note_commit(branch, COMMIT)
    assert cached_commit(branch) == COMMIT
    note_commit(pinned, OTHER)
    assert sorted(path.name for path in (cache / "hub").glob("*/refs/**/*") if path.is_file()) == ["1", "main"]


def test_a_cache_that_cannot_be_written_is_left_as_it_is(cache, monkeypatch):
    written(cache, "file")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "file"))
    note_commit(ROBERTA, COMMIT)
    assert (cache / "file").read_text() == "{}"


@pytest.mark.slow
def test_a_cached_model_loads_from_its_folder_without_a_connection(cache, server, shared_data):
    # By name, transformers asks for an adapter_config.json even with local_files_only; by folder it asks for nothing.
    folder = snapshot(cache, "model", "sentence-transformers/all-MiniLM-L6-v2")
    shutil.copytree(shared_data / "minilm-l6", folder)
    code = (
        "import gpart\n"
        "from experiments.data import hub\n"
        "from transformers import AutoModel, AutoTokenizer\n"
        f"requirement = hub.Requirement('model', 'sentence-transformers/all-MiniLM-L6-v2', '{COMMIT}')\n"
        "folder = str(hub.folder(requirement, hub.resolve(requirement).commit))\n"
        "AutoTokenizer.from_pretrained(folder)\n"
        "AutoModel.from_pretrained(folder)\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "HF_HUB_CACHE")}
    environment |= {"HF_HOME": str(cache), "HF_ENDPOINT": server.url, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [request for request in server.requests if "agent-harnesses" not in request] == []
