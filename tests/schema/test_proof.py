from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from schema.folder import Fault, read_file
from schema.proof import digest, sealed
from schema.record import Record
from tests.analysis.conftest import record


def text(content: dict[str, Any]) -> str:
    return json.dumps(content | {"digest": None}, indent=1, sort_keys=True) + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A record as a run writes it."""
    path = tmp_path / "record.json"
    path.write_text(sealed(text(record(error=None, score=0.8125))))
    return path


def test_a_sealed_record_is_read_with_its_digest(path: Path) -> None:
    found = read_file(path)
    assert isinstance(found, Record)
    assert found.digest == digest(path.read_bytes())
    assert sealed(text(record(score=0.8125))) == path.read_text(), "the same content has the same digest"


def test_the_digest_is_what_standard_tools_say(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith(' "digest": ')]
    ended = subprocess.run(["sha256sum"], input="".join(lines).encode(), capture_output=True, check=True)
    assert ended.stdout.split()[0].decode() == digest(path.read_bytes())


@pytest.mark.parametrize(
    ("before", "after"),
    [("0.8125", "0.8126"), ('"threads": 2', '"threads": 3'), (': "ok"', ':  "ok"'), ('"digest": "', '"digest": "0')],
)
def test_whatever_was_edited_shows(path: Path, before: str, after: str) -> None:
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    found = read_file(path)
    assert isinstance(found, Fault)
    assert found.reason.startswith("digest=")
    assert found.reason.endswith("so that it was edited or damaged; accepted: a record as it was written")


@pytest.mark.parametrize("content", [record(), record() | {"digest": None}])
def test_a_record_without_a_digest_is_of_before_there_was_one(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))
    found = read_file(path)
    assert isinstance(found, Record)
    assert found.digest is None
