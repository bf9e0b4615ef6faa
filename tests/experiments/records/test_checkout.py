"""The state of the checkout that a record names."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from experiments.records import checkout as code


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(code, "ROOT", tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "base.yaml").write_text("seed: 0")
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_records_in_the_checkout_do_not_make_it_unclean(checkout: Path) -> None:
    (checkout / "results").mkdir()
    (checkout / "results" / "record.json").write_text("{}")
    sha, dirty = code.git_state()
    assert dirty is False
    assert sha is not None
    assert len(sha) == 40


@pytest.mark.parametrize("name", ["conf/base.yaml", "conf/other.yaml", "run.py"])
def test_changed_and_new_code_does(checkout: Path, name: str) -> None:
    (checkout / name).write_text("seed: 1")
    assert code.git_state()[1] is True


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert code.git_state() == (None, None)


def test_a_copy_says_what_its_checkout_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "ROOT", tmp_path)
    (tmp_path / code.SUBMITTED).write_text(json.dumps({"git_sha": "a" * 40, "git_dirty": True}))
    assert code.git_state() == ("a" * 40, True)
