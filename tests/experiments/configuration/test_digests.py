"""The sha256 of a file: read once while it stays as it is, anew whenever anything about it changes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.configuration import digests
from experiments.configuration.digests import file_digest
from experiments.errors import SpecError

LARGE = digests.SMALL + 10


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "RACY_NS", 0)
    return tmp_path / "cache" / "digests"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose bytes were read, in order."""
    read: list[Path] = []
    sha256 = digests._sha256
    monkeypatch.setattr(digests, "_sha256", lambda path: (read.append(path), sha256(path))[1])
    return read


def written(path: Path, byte: bytes = b"a", size: int = LARGE) -> Path:
    path.write_bytes(byte * size)
    return path


def expected(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.usefixtures("cache")
def test_a_large_file_is_read_once(tmp_path: Path, reads: list[Path]) -> None:
    path = written(tmp_path / "weights")
    assert file_digest(path) == file_digest(path) == expected(path)
    assert reads == [path]


def test_a_small_file_is_read_each_time_and_leaves_no_entry(tmp_path: Path, cache: Path, reads: list[Path]) -> None:
    path = written(tmp_path / "config.json", size=10)
    assert file_digest(path) == file_digest(path) == expected(path)
    assert len(reads) == 2
    assert not cache.exists()


@pytest.mark.usefixtures("cache")
def test_another_process_does_not_read_it_again(tmp_path: Path, reads: list[Path]) -> None:
    path = written(tmp_path / "weights")
    code = (
        "import sys; from pathlib import Path; from experiments.configuration import digests; digests.RACY_NS = 0; "
        "print(digests.file_digest(Path(sys.argv[1])))"
    )
    root = Path(digests.__file__).parents[2]
    other = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, cwd=root)
    assert other.stdout.strip() == file_digest(path) == expected(path)
    assert reads == []


@pytest.mark.usefixtures("cache")
def test_a_change_of_the_same_size_with_the_old_time_of_modification_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path / "weights")
    before, stat = file_digest(path), path.stat()
    with path.open("r+b") as file:
        file.write(b"b")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert file_digest(path) == expected(path) != before


@pytest.mark.usefixtures("cache")
def test_another_file_moved_into_its_place_is_seen(tmp_path: Path) -> None:
    path, other = written(tmp_path / "weights"), written(tmp_path / "other", b"b")
    before = file_digest(path)
    other.replace(path)
    assert file_digest(path) == expected(path) != before


def test_a_file_that_was_just_changed_is_not_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    monkeypatch.setattr(digests, "RACY_NS", 3600 * 10**9)
    path = written(tmp_path / "weights")
    assert file_digest(path) == file_digest(path)
    assert len(reads) == 2
    assert not cache.exists()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda entry: entry.write_text(""),
    "binary": lambda entry: entry.write_bytes(b"\xff\x00"),
    "a list": lambda entry: entry.write_text("[1]"),
    "no digest": lambda entry: entry.write_text(
        json.dumps({key: value for key, value in json.loads(entry.read_text()).items() if key != "sha256"})
    ),
    "not a digest": lambda entry: entry.write_text(json.dumps(json.loads(entry.read_text()) | {"sha256": "00"})),
    "a folder": lambda entry: (entry.unlink(), entry.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_ignored(tmp_path: Path, cache: Path, reads: list[Path], damage: str) -> None:
    path = written(tmp_path / "weights")
    file_digest(path)
    (entry,) = cache.iterdir()
    DAMAGES[damage](entry)
    assert file_digest(path) == expected(path)
    assert len(reads) == 2


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("GPART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "RACY_NS", 0)
    path = written(tmp_path / "weights")
    assert file_digest(path) == file_digest(path) == expected(path)
    assert len(reads) == 2


def test_the_cache_may_be_below_a_home_that_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GPART_CACHE", "~/x")
    assert digests.cache_folder() == tmp_path / "x"
    monkeypatch.setenv("GPART_CACHE", "~nosuchuser/x")
    with pytest.raises(SpecError, match=r"^GPART_CACHE=~nosuchuser/x: .*; accepted: "):
        digests.cache_folder()
