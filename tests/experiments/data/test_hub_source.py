"""Rows of the hub: which commit they are of, and that no other is loaded."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from huggingface_hub import constants

from experiments.data import hub, sources
from experiments.data.source import Source
from experiments.errors import SpecError
from schema.sections import Data, Task
from tests.experiments.data.conftest import COMMIT, forget, snapshot
from tests.experiments.data.runs import run_of, source_of
from tests.hub_server import HubServer

GLUE = ("datasets", "nyu-mll/glue")
HUB = Data(source="hub")

pytestmark = pytest.mark.usefixtures("cache")


def written(folder: Path, name: str, first: int, rows: int, **columns: list[str]) -> None:
    numbers = list(range(first, first + rows))
    texts = columns or {"sentence": [f"s{n}" for n in numbers]}
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({**texts, "label": [n % 2 for n in numbers], "idx": numbers})
    pyarrow.parquet.write_table(table, folder / name)


def sst2(folder: Path, first: int = 0) -> Path:
    """SST-2 as the hub has it, with 40 and 10 rows whose ids begin at `first`."""
    written(folder, "sst2/train-00000-of-00001.parquet", first, 40)
    written(folder, "sst2/validation-00000-of-00001.parquet", first + 40, 10)
    return folder


def asked(server: HubServer) -> list[str]:
    """The requests for a commit."""
    return [request for request in server.requests if "/revision/" in request]


def test_the_reference_names_the_commit(server, tmp_path):
    commit = server.push(*GLUE, sst2(tmp_path / "first"))
    source = source_of("glue/sst2", HUB)
    assert source.errors() == []
    expected = {"path": "nyu-mll/glue", "name": "sst2", "revision": "main", "commit": commit}
    assert source.reference() == expected
    assert source.matches(expected)
    assert source.matches({"path": "nyu-mll/glue", "name": "sst2", "revision": "main"}), "as identity 1 has it"
    assert not source.matches({**expected, "commit": COMMIT})
    assert server.files_asked_for() == set()


def test_another_commit_is_another_reference_and_a_plan_keeps_its_own(server, tmp_path, monkeypatch):
    server.push(*GLUE, sst2(tmp_path / "first"))
    planned = source_of("glue/sst2", HUB).reference()
    server.push(*GLUE, sst2(tmp_path / "moved", first=500))
    forget(monkeypatch)
    assert source_of("glue/sst2", HUB).reference() != planned
    server.requests.clear()
    run = run_of("glue/sst2", HUB)
    source = sources.source_of(run.task, run.data, timeout=3, reference=planned)
    assert source.rows("test")["example_id"][:] == list(range(40, 50))
    assert source.reference() == planned
    assert asked(server) == []
    assert source_of("glue/sst2", HUB).rows("test")["example_id"][:] == list(range(540, 550))


def test_rows_are_counted_where_they_are_cached_and_nothing_is_asked_for_it(server, tmp_path):
    server.push(*GLUE, sst2(tmp_path / "first"))
    source = source_of("glue/sst2", HUB)
    assert (source.total("train"), source.total("test"), server.requests) == (67349, 872, [])
    source.rows("train")
    assert (source.total("train"), source.total("test")) == (40, 10)


def test_what_the_cache_answers_in_place_of_the_hub_is_a_note(server, tmp_path, monkeypatch):
    commit = server.push(*GLUE, sst2(tmp_path / "first"))
    first = source_of("glue/sst2", HUB)
    first.rows("train")
    assert first.notes == []
    server.failure = 500
    forget(monkeypatch)
    source = source_of("glue/sst2", HUB)
    assert source.reference()["commit"] == commit
    (note,) = source.notes
    assert note.startswith(f"HF_ENDPOINT={server.url}: it answered 500")


@pytest.mark.parametrize("fault", ["missing", "gated", "unreachable"])
def test_what_the_hub_does_not_hand_over_is_refused_by_its_reference(server, tmp_path, fault):
    server.push(*GLUE, sst2(tmp_path / "first"))
    if fault == "missing":
        del server.repositories[GLUE]
    if fault == "gated":
        server.repositories[GLUE].gated = True
    if fault == "unreachable":
        server.failure = 503
    source = source_of("glue/sst2", HUB)
    with pytest.raises(SpecError) as refusal:
        source.reference()
    (line,) = refusal.value.errors
    assert line.startswith("task.hub.path=nyu-mll/glue: ")


def test_a_column_that_the_hub_has_not_is_one_line(server, tmp_path):
    folder = sst2(tmp_path / "first")
    written(folder, "sst2/validation-00000-of-00001.parquet", 0, 4, text=list("abcd"))
    server.push(*GLUE, folder)
    with pytest.raises(SpecError, match="has no column sentence; it has text, label, idx; accepted") as refusal:
        source_of("glue/sst2", HUB).rows("test")
    assert len(refusal.value.errors) == 1


def task(**hub_rows: object) -> Task:
    """A sentence task with rows on the hub."""
    splits = {"train": "train", "test": "test"}
    keys = {"name": "mine", "family": "glue", "inputs": ["sentence"], "label": "label", "classes": ["bad", "good"]}
    scores = {"metrics": ["accuracy"]}
    return Task.model_validate({**keys, **scores, "splits": splits, "hub": {"path": "owner/mine", **hub_rows}})


def test_several_configurations_are_one_data_set_in_their_order(server, tmp_path):
    for place, name in enumerate(["second", "first"]):
        for split in ("train", "test"):
            written(tmp_path / "mine", f"{name}/{split}-00000-of-00001.parquet", 2 * place, 2)
    commit = server.push("datasets", "owner/mine", tmp_path / "mine")
    source = sources.source_of(task(name=["first", "second"]), HUB, timeout=3)
    assert source.rows("test")["example_id"][:] == [2, 3, 0, 1]
    assert source.reference()["name"] == ["first", "second"]
    assert source.reference()["commit"] == commit


def test_files_of_their_own_names_are_those_of_the_task(cache, monkeypatch):
    files = {"train": "All.jsonl", "test": "Some.jsonl"}
    folder = snapshot(cache, "dataset", "owner/mine", *files.values())
    for name in files.values():
        (folder / name).write_text(f'{{"sentence": "{name}", "label": 1}}\n')
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    source = sources.source_of(task(files=files), HUB, timeout=3)
    assert source.rows("test")["sentence"][:] == ["Some.jsonl"]
    assert source.reference()["files"] == files
    (line,) = sources.source_of(task(files={"train": "All.jsonl"}), HUB).errors()
    assert line == "task.hub.files: no file for split test; accepted: one for each of train, test"


def test_each_test_set_has_a_reference_and_a_commit_of_its_own(server, tmp_path):
    commits = {}
    for repo, name in (("openai/gsm8k", "main"), ("EleutherAI/hendrycks_math", "")):
        commits[repo] = server.push("datasets", repo, sst2(tmp_path / repo.replace("/", "-") / name))
    source: Source = source_of("math/gsm8k_math", HUB)
    assert source.splits == ["train", "test", "math"]
    reference = source.reference()
    assert reference["commit"] == commits["openai/gsm8k"]
    tests = reference["test_sets"]
    assert isinstance(tests, dict)
    assert {name: part["commit"] for name, part in tests.items()} == dict(
        zip(["test", "math"], commits.values(), strict=True)
    )
    assert source.matches(reference)
    assert source.matches({**reference, "test_sets": list(tests.values())}), "as identity 1 has it"
    assert not source.matches({**reference, "test_sets": {"test": tests["math"], "math": tests["test"]}})
    assert not source.matches({**reference, "test_sets": {"test": tests["test"]}})
    run = run_of("math/gsm8k_math", HUB)
    server.failure = 500
    assert sources.source_of(run.task, run.data, reference=reference).reference() == reference
    assert len({requirement.repo for requirement in source.requirements}) == len(commits)


def test_a_branch_is_asked_for_once_by_all_that_need_it(server, tmp_path):
    server.push(*GLUE, sst2(tmp_path / "first"))
    for _ in range(3):
        source_of("glue/sst2", HUB).reference()
    hub.resolve_all(source_of("glue/sst2", HUB).requirements)
    assert len(asked(server)) == 1


def test_rows_fetched_by_the_commit_of_a_plan_are_found_offline(server, tmp_path, monkeypatch):
    server.push(*GLUE, sst2(tmp_path / "first"))
    planned = source_of("glue/sst2", HUB).reference()
    forget(monkeypatch)  # as the process of the run has asked nothing
    run = run_of("glue/sst2", HUB)
    sources.source_of(run.task, run.data, reference=planned).rows("train")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert source_of("glue/sst2", HUB).reference() == planned
