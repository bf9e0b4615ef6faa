from __future__ import annotations

from typing import Annotated

import pytest

from experiments.commands.document import DOCUMENTS, document, main, tables
from schema.document import filled, names, record_table, section_table, type_words
from schema.marks import RESULT, WHERE, Section, neutral_at
from schema.part import Part
from schema.values import Count, Text


class Inner(Section):
    path: Annotated[Text | None, WHERE, "a | b"] = None


class Outer(Section):
    size: Annotated[Count, RESULT, "how many"]
    text: Annotated[str, neutral_at("")] = ""
    inner: Inner = Inner()


class Sizes(Part):
    total: Annotated[int | None, "of all"] = None
    names: list[str]


def test_the_tables_of_the_documents_are_current() -> None:
    assert document(check=True) == []
    assert main(["--check"]) == 0


def test_every_model_has_its_table() -> None:
    written = {name for path in DOCUMENTS for name in names(path.read_text(encoding="utf-8"))}
    assert written == tables().keys()


def test_a_section_is_a_table_of_keys_with_marks() -> None:
    assert section_table(Outer).splitlines()[2:] == [
        "| `size` | an integer from 1 to 2147483647 |  | changes the result | how many |",
        '| `text` | a str | `""` | neutral at `""` |  |',
        r"| `inner.path` | a text, or null | `null` | where it ran | a \| b |",
    ]


def test_a_familys_own_keys_alone_are_in_its_table_and_those_that_it_changes() -> None:
    class Wider(Outer):
        text: Annotated[str, RESULT] = ""
        own: Annotated[Count, RESULT, "a key"]

    keys = [line.split(" | ")[0] for line in section_table(Wider, Outer).splitlines()]
    assert keys == ["| key", "| ---", "| `text`", "| `own`"]


def test_a_part_of_a_record_is_a_table_of_keys_with_types() -> None:
    assert record_table(Sizes).splitlines() == [
        "| key | type | what |",
        "| --- | --- | --- |",
        "| `total` | int or null | of all |",
        "| `names` | list of texts |  |",
    ]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Sizes | str | None, "object or text or null"),
        (dict[str, float | None], "object of (number or null)"),
        (list[Sizes], "list of objects"),
    ],
)
def test_types_in_words(kind: object, words: str) -> None:
    assert type_words(kind) == words


def test_a_type_that_json_lacks_is_refused() -> None:
    with pytest.raises(TypeError, match="no words"):
        type_words(complex)


def test_what_stands_between_markers_is_replaced_and_nothing_else() -> None:
    text = "before\n<!-- table: a.B -->\nold\nlines\n<!-- end -->\nafter\n<!-- table: c -->\n<!-- end -->\n"
    made = "before\n<!-- table: a.B -->\n[a.B]\n<!-- end -->\nafter\n<!-- table: c -->\n[c]\n<!-- end -->\n"
    assert names(text) == ["a.B", "c"]
    assert filled(text, lambda name: f"[{name}]") == made
    assert filled(made, lambda name: f"[{name}]") == made
