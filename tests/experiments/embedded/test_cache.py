"""The cache of the suite's own models: checked before use, made anew where it is not what was made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.embedded import cache
from experiments.embedded.cache import MANIFEST, made_once
from experiments.errors import SpecError
from tests.experiments.runs import run

WEIGHTS = "model.safetensors"


def make(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"weights" * 1000)
    (folder / "config.json").write_text("{}")


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as an earlier process left it."""
    folder = made_once("model", make, tmp_path)
    monkeypatch.setattr(cache, "_verified", set())
    return folder


def damage(folder: Path, how: str) -> None:
    weights = folder / WEIGHTS
    match how:
        case "flipped":
            weights.write_bytes(weights.read_bytes()[:-1] + b"S")
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "gone":
            weights.unlink()
        case "added":
            (folder / "adapter_config.json").write_text("{}")
        case "without manifest":
            (folder / MANIFEST).unlink()
        case "manifest is no JSON":
            (folder / MANIFEST).write_text("{")
        case "empty":
            for path in folder.iterdir():
                path.unlink()
        case "a file":
            damage(folder, "empty")
            folder.rmdir()
            folder.write_text("junk")


def test_the_manifest_names_every_file(cached: Path) -> None:
    assert set(json.loads((cached / MANIFEST).read_text())) == {WEIGHTS, "config.json"}


@pytest.mark.parametrize(
    "how", ["flipped", "truncated", "gone", "added", "without manifest", "manifest is no JSON", "empty", "a file"]
)
def test_what_is_not_what_was_made_is_made_anew_with_a_note(
    how: str, cached: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(cached, how)
    assert made_once("model", make, tmp_path) == cached
    assert (cached / WEIGHTS).read_bytes() == b"weights" * 1000
    assert {path.name for path in cached.iterdir()} == {WEIGHTS, "config.json", MANIFEST}
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"note: the cached model {cached} ")


def test_a_sound_folder_is_not_made_again(cached: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def never(folder: Path) -> None:
        raise AssertionError(folder)

    for _ in range(2):
        assert made_once("model", never, tmp_path) == cached
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("below", ["", "folder/deeper"])
def test_a_cache_that_cannot_be_written_is_one_line_that_names_it(below: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    place = tmp_path / "taken" / below
    with pytest.raises(SpecError, match=f"^GPART_CACHE={place}: cannot be written") as refusal:
        made_once("model", make, place)
    assert len(refusal.value.errors) == 1
    assert "\n" not in refusal.value.errors[0]


def test_a_run_is_refused_before_anything_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, outputs = tmp_path / "taken", tmp_path / "outputs"
    taken.write_text("a file")
    monkeypatch.setenv("GPART_CACHE", str(taken))
    with pytest.raises(SpecError, match=f"^GPART_CACHE={taken}: cannot be written"):
        run("profile=embedded", "task=glue/rte", "method=head", "logger=disabled", f"outputs={outputs}")
    assert not outputs.exists()
