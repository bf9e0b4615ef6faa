"""A torchvision whose compiled operators are not there imports all the same, whoever asks for it first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BROKEN = """
import torch
from torchvision import _meta_registrations
"""
REGISTRATIONS = """
import torch
try:
    torch.ops.torchvision.nms
except (AttributeError, RuntimeError):
    raise RuntimeError("operator torchvision::nms does not exist") from None
"""


def imported(folder: Path, initialisation: str, code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process whose torchvision is made of these lines."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(initialisation)
    (package / "_meta_registrations.py").write_text(REGISTRATIONS)
    path = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]\n"
    return subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, cwd=folder)


def test_missing_operators_are_declared(tmp_path: Path) -> None:
    done = imported(
        tmp_path, BROKEN, "import experiments, torchvision; print(torchvision._meta_registrations.__name__)"
    )
    assert done.stdout == "torchvision._meta_registrations\n", done.stderr


def test_without_the_suite_the_same_import_fails(tmp_path: Path) -> None:
    done = imported(tmp_path, BROKEN, "import torchvision")
    assert "operator torchvision::nms does not exist" in done.stderr


@pytest.mark.parametrize("error", ["RuntimeError('broken in another way')", "ImportError('no such thing')"])
def test_another_failure_is_not_hidden(tmp_path: Path, error: str) -> None:
    done = imported(tmp_path, f"raise {error}\n", "import experiments, torchvision")
    assert error.partition("(")[0] in done.stderr
    assert done.returncode == 1


def test_nothing_is_imported_before_it_is_asked_for(tmp_path: Path) -> None:
    code = "import sys, experiments; print([name for name in ('torch', 'torchvision') if name in sys.modules])"
    assert imported(tmp_path, BROKEN, code).stdout == "[]\n"
