"""The state of the checkout that a record names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from experiments.records import provenance
from schema.record import Provenance


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "base.yaml").write_text("seed: 0")
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_records_in_the_checkout_do_not_make_it_unclean(checkout: Path) -> None:
    (checkout / "results").mkdir()
    (checkout / "results" / "record.json").write_text("{}")
    sha, dirty = provenance.git_state()
    assert dirty is False
    assert sha is not None
    assert len(sha) == 40


@pytest.mark.parametrize("name", ["conf/base.yaml", "conf/other.yaml", "run.py"])
def test_changed_and_new_code_does(checkout: Path, name: str) -> None:
    (checkout / name).write_text("seed: 1")
    assert provenance.git_state()[1] is True


def test_every_package_that_a_number_goes_through_is_named() -> None:
    packages = provenance.collect(Provenance(), "off").packages
    through = {"torch", "torchvision", "timm", "transformers", "tokenizers", "peft", "safetensors", "huggingface-hub"}
    assert packages.keys() >= through | {"datasets", "evaluate", "pyarrow", "pillow", "numpy", "pandas", "python"}
    assert all(version[0].isdigit() for version in packages.values())


def test_what_data_and_weights_are_is_kept() -> None:
    found = provenance.collect(Provenance(data_reference={"commit": "a"}, backbone_reference={"commit": "b"}), "off")
    assert (found.data_reference, found.backbone_reference) == ({"commit": "a"}, {"commit": "b"})


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_state() == (None, None)
