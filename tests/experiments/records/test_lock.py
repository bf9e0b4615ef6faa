"""The lock of a run's folder: held by one, seen by all, kept by a child."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.records import lock


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    assert not lock.is_held(tmp_path), "without a file as well"
    with lock.held(tmp_path):
        assert lock.is_held(tmp_path)
        with pytest.raises(lock.Busy), lock.held(tmp_path):
            pass
        assert lock.is_held(tmp_path), "who is turned away takes nothing"
    assert not lock.is_held(tmp_path)
    with lock.held(tmp_path):
        pass


def test_a_child_keeps_the_lock_that_its_parent_lets_go_of(tmp_path: Path) -> None:
    code = "import sys; sys.stdin.read()"
    with lock.held(tmp_path) as descriptor:
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, pass_fds=[descriptor])
    assert lock.is_held(tmp_path)
    child.communicate(b"")
    assert not lock.is_held(tmp_path)
    lock.wait(tmp_path)


def test_a_lock_whose_file_was_removed_is_of_no_use(tmp_path: Path) -> None:
    stale = os.open(tmp_path / lock.LOCK, os.O_RDWR | os.O_CREAT)
    (tmp_path / lock.LOCK).unlink()
    with lock.held(tmp_path) as descriptor:
        assert os.path.samestat(os.fstat(descriptor), (tmp_path / lock.LOCK).stat())
    os.close(stale)
