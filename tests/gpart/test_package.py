"""What an index page and `pip show` say of the package."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import gpart
from tests.test_architecture import imported

ROOT = Path(gpart.__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def test_the_version_is_the_installed_one_and_has_its_changes_written_down() -> None:
    assert gpart.__version__ == version("gpart")
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == gpart.__version__


def test_the_licence_is_named_and_there(project: dict[str, Any]) -> None:
    assert project["license"] == "Apache-2.0"
    for name in project["license-files"]:
        text = (ROOT / name).read_text()
        assert "Apache License" in text
        assert "END OF TERMS AND CONDITIONS" in text


def test_the_long_description_has_no_link_that_an_index_page_breaks(project: dict[str, Any]) -> None:
    text = (ROOT / project["readme"]).read_text()
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []
    assert "pip install gpart" in text


def test_the_long_description_asks_for_the_versions_that_installing_asks_for(project: dict[str, Any]) -> None:
    text = (ROOT / project["readme"]).read_text()
    names = {"PyTorch": "torch", "transformers": "transformers", "PEFT": "peft"}
    said = {package: re.search(rf"{name} ([\d.]+) or later", text) for name, package in names.items()}
    bounds = {each.name: each.specifier for each in map(Requirement, project["dependencies"])}
    for package, found in said.items():
        assert found is not None, package
        assert f">={found[1]}" in {str(bound) for bound in bounds[package]}
    assert f"Python {project['requires-python'].removeprefix('>=')} or later" in text


def test_the_extras_that_the_long_description_names_are_all(project: dict[str, Any]) -> None:
    text = (ROOT / project["readme"]).read_text()
    section = text.partition("## Extras")[2].partition(" belong to ")[0]
    assert set(re.findall(r"`([^`]*)`", section)) == set(project["optional-dependencies"])


def test_what_the_code_imports_is_asked_for(project: dict[str, Any]) -> None:
    found = set().union(*(imported(path) for path in (ROOT / "gpart").rglob("*.py")))
    optional = {"triton"}  # comes with torch's builds for CUDA
    asked = {Requirement(each).name for each in project["dependencies"]}
    assert found >= {"peft", "torch", "transformers"}
    assert found - sys.stdlib_module_names - {"gpart"} - optional <= asked
