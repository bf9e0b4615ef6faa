"""JSON as rows, in the shapes that people and pandas write."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from experiments.data import json_rows

ROWS = [{"sentence": f"a\u2028b {n}", "label": n % 2} for n in range(4)]
FRAME = pd.DataFrame(ROWS)
LINES = "\n".join(map(json.dumps, ROWS))


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        LINES.replace("\n", "\r\n"),
        LINES.replace("\n", "\r"),
        "\n\n" + LINES.replace("\n", "\n\n") + "\n",
        "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS),
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        FRAME.to_json(orient="records"),
        FRAME.to_json(orient="columns"),
        FRAME.to_json(orient="records", lines=True),
        json.dumps({"sentence": FRAME["sentence"].tolist(), "label": FRAME["label"].tolist()}),
        json.dumps({"sentence": FRAME["sentence"].tolist(), "label": FRAME["label"].tolist()}, indent=1),
    ],
)
def test_the_same_rows_in_every_shape(content: str) -> None:
    assert list(json_rows.rows(content)) == ROWS
    assert json_rows.keys(content.splitlines(keepends=True) if "\u2028" not in content else [content]) == [*ROWS[0]]
    assert json_rows.table(content, ["label", "sentence"]).to_pylist() == [
        {"label": row["label"], "sentence": row["sentence"]} for row in ROWS
    ]


@pytest.mark.parametrize("content", ["", "\n \n", "[]"])
def test_no_rows(content: str) -> None:
    assert (list(json_rows.rows(content)), json_rows.keys([content])) == ([], [])


def test_one_row_may_have_a_list() -> None:
    assert list(json_rows.rows('{"sentence": ["a", "b"], "label": 0}')) == [{"sentence": ["a", "b"], "label": 0}]


def test_a_column_that_the_first_row_lacks_is_read() -> None:
    found = json_rows.table('{"label": 0}\n{"label": 1, "idx": 5}', ["idx"])
    assert found["idx"].to_pylist() == [None, 5]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("5", "row 1 is a number"),
        ("null", "row 1 is a null"),
        ('"text"', "row 1 is a text"),
        ("1\n2\n", "row 1 is a number"),
        (LINES + "\n[1]", "row 5 is a list"),
        ("[1, 2]", "row 1 is a number"),
        ("[[1], [2]]", "row 1 is a list"),
        (LINES + '\n{"sentence": ', "not JSON in line 5, column 14"),
        ('[{"a": 1},]', "not JSON in line 1"),
        ("[" * 100_000, "too deep"),
        ('{"a":' * 100_000, "too deep"),
        ('{"label": 0, "label": 1}\n{"label": 0}', "key label twice"),
        ('{"sentence": ["a", "b"], "label": [0]}', "columns of different lengths"),
        ('{"sentence": {"0": "a"}, "label": {"1": 0}}', "columns with different rows"),
    ],
)
def test_what_holds_no_rows_is_said(content: str, why: str) -> None:
    for read in (json_rows.rows, lambda text: json_rows.table(text, ["label"])):
        with pytest.raises(ValueError, match=why):
            read(content)


@pytest.mark.parametrize("values", [["1", 0], [1, True], [10**30, 1], ["\ud83d", "a"], [{}, 1]])
def test_a_column_of_several_types_is_named(values: list[object]) -> None:
    content = "\n".join(json.dumps({"label": value}) for value in values)
    with pytest.raises(ValueError, match="column label: "):
        json_rows.table(content, ["label"])
