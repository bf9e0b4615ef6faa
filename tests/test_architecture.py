"""Imports point one way: experiments may import baselines, gpart and schema, analysis schema, baselines gpart."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Container, Iterator
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
# Of gpart's parts, each imports those before it alone.
LAYERS = ["numerics", "hashing", "kernels", "partition", "compute", "tuner"]


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


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def executed(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports of a module, those inside functions too, without those for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from (found for branch in node.orelse for found in executed(ast.Module([branch], [])))
        else:
            yield from executed(node)


def named(node: ast.Import | ast.ImportFrom) -> list[str]:
    """What an import may load: modules, or things in them."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert not node.level, "imports are absolute"
    return [f"{node.module}.{alias.name}" for alias in node.names]


def target(name: str, modules: Container[str]) -> str | None:
    """The module that an import is of; None of another package."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def import_graph(package: str) -> dict[str, set[str]]:
    """What each module of a package imports of it."""
    files = {module_name(path): path for path in (ROOT / package).rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        names = [name for node in executed(ast.parse(path.read_text(encoding="utf-8"))) for name in named(node)]
        graph[module] = {found for name in names if (found := target(name, files))}
    return graph


def circles(graph: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """The sets of two or more modules each of which is reached from the others."""
    reached = {module: set(targets) for module, targets in graph.items()}
    for middle in graph:
        for targets in reached.values():
            if middle in targets:
                targets |= reached[middle]
    return sorted({tuple(sorted(o for o in reached[m] if m in reached[o])) for m in graph if m in reached[m]})


@pytest.mark.parametrize("package", ["analysis", "baselines", "experiments", "gpart", "schema"])
def test_no_imports_go_in_a_circle(package: str) -> None:
    graph = import_graph(package)
    assert graph
    assert circles(graph) == []


def test_a_circle_is_found_wherever_its_imports_are() -> None:
    inside = ast.parse("def f():\n    from a.b import c\nif TYPE_CHECKING:\n    import a.d\nelse:\n    import a.e")
    assert [name for node in executed(inside) for name in named(node)] == ["a.b.c", "a.e"]
    assert [target(name, {"a", "a.b"}) for name in ("a.b.c", "b.a")] == ["a.b", None]
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [("b", "c")]


def test_each_part_of_gpart_imports_those_before_it_alone() -> None:
    def part(module: str) -> str:
        return module.split(".")[1]

    graph = {module: targets for module, targets in import_graph("gpart").items() if module != "gpart"}
    assert {part(module) for module in graph} == {*LAYERS, "_torchvision", "__main__"}
    arrows = {(part(module), part(target)) for module, targets in graph.items() for target in targets}
    assert {(a, b) for a, b in arrows if a != b and LAYERS.index(a) <= LAYERS.index(b)} == set()
