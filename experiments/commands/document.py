"""`python -m experiments.commands.document [--check]`: the tables of docs/RECORD.md, made anew from the schema."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from experiments.families import FAMILIES, sections_of
from schema import diagnostics, key, record, run, sections
from schema.document import filled, record_table, section_table
from schema.marks import Section, section_of
from schema.part import Part

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "docs" / "RECORD.md",)


def tables() -> dict[str, Callable[[], str]]:
    """What makes each table, by its name: `record.Sizes`, `sections.Recipe`, `vision.task`."""
    found: dict[str, Callable[[], str]] = {"run.RunSpec": partial(section_table, run.RunSpec)}
    of_a_run = [section_of(field) for field in run.RunSpec.model_fields.values()]
    for module in (record, diagnostics, key, sections):
        short = module.__name__.removeprefix("schema.")
        for name, model in vars(module).items():
            if not isinstance(model, type) or not issubclass(model, BaseModel) or model.__module__ != module.__name__:
                continue
            if issubclass(model, Section):
                if model in of_a_run:  # those within a section stand in its table
                    found[f"{short}.{name}"] = partial(section_table, model)
            elif issubclass(model, (Part, key.Key)):  # others are what readers need of a configuration
                found[f"{short}.{name}"] = partial(record_table, model)
    for family in FAMILIES:
        own = sections_of(family)
        for name, section, base in (("task", own.task, sections.Task), ("backbone", own.backbone, sections.Backbone)):
            if section.model_fields.keys() - base.model_fields.keys():
                found[f"{family}.{name}"] = partial(section_table, section, base)
    return found


def document(check: bool) -> list[str]:
    """Make the tables of every document anew.

    Args:
        check: leave the files as they are.

    Returns:
        the names of the documents that were not current.

    Raises:
        KeyError: if a document has a marker that names no table.
    """
    known = tables()
    stale = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        current = filled(text, lambda name: known[name]())
        if current != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(current, encoding="utf-8")
    return stale


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0; with `--check` 1 where a document is not current."""
    parser = argparse.ArgumentParser(prog="python -m experiments.commands.document", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; say which documents are not current")
    check = parser.parse_args(arguments).check
    stale = document(check)
    for name in stale:
        print(f"{name}: {'not current' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
