"""`python -m gpart`: a tool's own main runs as it would without, with GPart registered."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gpart.__main__ import main

TOOL = """
import sys
from peft import PeftType
print(__name__, PeftType("GPART").value, sys.argv[1:], sys.path[0])
if "--fail" in sys.argv:
    sys.exit(3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with a module, a package, a package without a main, and one whose own import fails."""
    for package in ("own_package", "own_silent", "own_broken"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "own_package" / "__main__.py").write_text("from own_package import tool")
    (tmp_path / "own_package" / "tool.py").write_text(TOOL)
    (tmp_path / "own_broken" / "__init__.py").write_text("import a_missing_dependency")
    (tmp_path / "own_module.py").write_text(TOOL)
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "train.py").write_text(TOOL + "import beside")
    (scripts / "beside.py").write_text("print('beside')")
    (scripts / "entry").write_text(TOOL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["gpart", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    main()


@pytest.mark.parametrize("module", ["own_module", "own_package.tool"])
def test_a_module_is_run_as_main_with_its_arguments(
    folder: Path, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, module, "--tasks", "a,b", "--help", "--", "-x")
    assert capsys.readouterr().out == f"__main__ GPART ['--tasks', 'a,b', '--help', '--', '-x'] {folder}\n"


def test_a_package_is_run_by_its_main(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "own_package")
    assert capsys.readouterr().out.startswith("own_package.tool GPART []")


@pytest.mark.parametrize("path", ["scripts/entry", "./own_module.py", "own_module.py"])
def test_a_script_is_run_wherever_it_lies(
    folder: Path, path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, path, "--fast")
    assert capsys.readouterr().out == f"__main__ GPART ['--fast'] {(folder / path).parent.resolve()}\n"


def test_a_script_imports_what_lies_beside_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, str(folder / "scripts" / "train.py"))
    assert capsys.readouterr().out.endswith("beside\n")


def test_the_tool_s_exit_status_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "own_module", "--fail")
    assert stopped.value.code == 3


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("own_missing", "module=own_missing: there is no such module here"),
        ("own_missing.tool", "module=own_missing.tool: there is no such module here"),
        ("own_package..tool", "module=own_package..tool: there is no such module here"),
        ("own_module.tool", "module=own_module.tool: there is no such module here"),
        ("own_silent", "module=own_silent: this package has no __main__ to run"),
        ("--model", "module=--model: this is no name of a module"),
        (".tool", "module=.tool: this is no name of a module"),
        ("", "module=: this is no name of a module"),
        ("missing.py", "script=missing.py: there is no such file"),
        ("scripts/missing", "script=scripts/missing: there is no such file"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(
    folder: Path, target: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, target)
    assert stopped.value.code == 2
    accepted = "; accepted: a module that `python -m` runs, or the path of a script\n"
    assert capsys.readouterr().err == f"error: {said}{accepted}"


def test_a_dependency_that_the_tool_lacks_is_not_taken_for_the_tool(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("own_broken", "own_broken.tool"):
        with pytest.raises(ModuleNotFoundError, match="a_missing_dependency"):
            run(monkeypatch, module)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_a_tool_it_says_how_to_name_one(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, *arguments)
    assert capsys.readouterr().out.startswith("usage: python -m gpart MODULE ARGS\n")
