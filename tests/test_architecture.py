"""Imports point one way: experiments may import baselines, gpart and schema, analysis schema, baselines gpart."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "gpart": {"gpart"},
    "baselines": {"gpart", "baselines"},
    "schema": {"schema"},
    "experiments": {"gpart", "baselines", "schema", "experiments"},
    "analysis": {"analysis", "schema"},
}
PACKAGES = set(ALLOWED) | {"tests"}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(ROOT)): imported(path) & (PACKAGES - ALLOWED[package]) for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


TORCH_FREE = [path for package in ("analysis", "schema") for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("path", TORCH_FREE, ids=lambda path: path.name)
def test_analysis_and_the_schema_never_import_torch(path: Path) -> None:
    assert not imported(path) & {"torch", "transformers", "peft", "datasets"}


def test_the_checks_before_a_run_import_neither_torch_nor_transformers() -> None:
    # A wrong key or an unreachable hub is answered within a second, which importing torch alone would exceed.
    code = (
        "import sys, experiments.cli, experiments.run.preflight, experiments.data.hub\n"
        "print([name for name in ('torch', 'transformers', 'peft', 'datasets', 'pandas') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.strip() == "[]"
