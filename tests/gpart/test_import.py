"""Importing the package: what it repairs, and what it does without."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import gpart

ROOT = Path(gpart.__file__).resolve().parent.parent


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)


def test_the_wheel_holds_every_folder_of_the_package_and_no_other() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {str(path.parent.relative_to(ROOT)).replace("/", ".") for path in (ROOT / "gpart").rglob("*.py")}
    assert set(listed) == folders


def test_the_repair_is_done_once_and_transforms_work() -> None:
    first = gpart.ensure_torchvision()
    assert first in ("native", "repaired", "absent")
    assert gpart.ensure_torchvision() == first
    if first == "absent":
        pytest.skip("torchvision is not installed")
    from torchvision.transforms import v2

    assert v2.functional.horizontal_flip(torch.tensor([[[1, 2]]])).tolist() == [[[2, 1]]]


@pytest.mark.slow
def test_another_failure_of_torchvision_is_not_hidden(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('broken in another way')\n")
    done = run(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import gpart")
    assert "RuntimeError: broken in another way" in done.stderr


@pytest.mark.slow
def test_a_missing_torchvision_is_no_failure() -> None:
    code = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torchvision' else find(name, *rest)\n"
        "from gpart._torchvision import ensure_torchvision\n"
    )
    # transformers asks the same function whether torchvision is there, and so leaves it alone too.
    done = run(code + "assert ensure_torchvision() == 'absent'; assert 'torchvision' not in sys.modules")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_suite_s_libraries_are_not_needed() -> None:
    blocked = ["hydra", "omegaconf", "datasets", "evaluate", "wandb", "pandas", "timm", "baselines", "experiments"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        + """
import torch, gpart
from peft import get_peft_model
model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(4, 4)), gpart.GPartConfig(d=3, target_modules=["0"]))
model(torch.ones(1, 4)).sum().backward()
print(model.base_model.gpart_theta["default"].grad.shape)
"""
    )
    done = run(code)
    assert done.stdout == "torch.Size([3])\n", done.stderr


@pytest.mark.slow
def test_peft_may_be_imported_first_or_again_once_it_has_failed() -> None:
    code = """
try:
    import peft
except Exception:  # where torchvision does not fit torch
    pass
import gpart, peft, torch
model = peft.get_peft_model(torch.nn.Sequential(torch.nn.Linear(4, 4)), gpart.GPartConfig(d=3, target_modules=["0"]))
print(type(model.base_model).__name__)
"""
    done = run(code)
    assert done.stdout == "GPartModel\n", done.stderr
