"""The copy of the code that a sweep's jobs run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from experiments.records import checkout as code
from experiments.sweep import snapshot


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout with a commit, and with code and other files that are in no commit."""
    folder = tmp_path / "checkout"
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / "base.yaml").write_text("seed: 0")
    (folder / ".gitignore").write_text("__pycache__/\n")
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    for name in ("run.py", "experiments/new.py", "experiments/__pycache__/new.pyc", "results/record.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1")
    monkeypatch.setattr(code, "ROOT", folder)
    monkeypatch.setattr(snapshot, "ROOT", folder)
    return folder


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_holds_the_code_with_what_is_not_committed_and_says_so(checkout: Path, tmp_path: Path) -> None:
    copy = snapshot.copied(tmp_path / "outputs", None)
    assert copy.parent == tmp_path / "outputs" / ".code"
    assert files(copy) == ["conf/base.yaml", "experiments/new.py", "run.py", "submitted.json"]
    assert json.loads((copy / "submitted.json").read_text()) == {"git_sha": code.git_state()[0], "git_dirty": True}
    assert not (copy / "run.py").stat().st_mode & 0o222


def test_outside_of_a_checkout_it_holds_the_same(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / ".git").rename(tmp_path / "no-git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    copy = snapshot.copied(tmp_path / "outputs", None)
    assert files(copy) == ["conf/base.yaml", "experiments/new.py", "run.py", "submitted.json"]


def test_it_is_shared_by_sweeps_of_the_same_code_and_commit(checkout: Path, tmp_path: Path) -> None:
    first = snapshot.copied(tmp_path, None)
    assert snapshot.copied(tmp_path, None) == first
    (checkout / "run.py").write_text("2")
    second = snapshot.copied(tmp_path, None)
    assert sorted((tmp_path / ".code").iterdir()) == sorted([first, second])
    assert [(folder / "run.py").read_text() for folder in (first, second)] == ["1", "2"]


def test_it_holds_the_folder_of_groups(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "own" / "method").mkdir(parents=True)
    (tmp_path / "own" / "method" / "mine.yaml").write_text("name: mine")
    copy = snapshot.copied(tmp_path, tmp_path / "own")
    assert (copy / "config-dir" / "method" / "mine.yaml").read_text() == "name: mine"
