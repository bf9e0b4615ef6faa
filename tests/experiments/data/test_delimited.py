"""CSV and tab-separated text: which quotation marks quote, which belong to the text, and which take in rows."""

from __future__ import annotations

import csv

import pandas as pd
import pytest

from experiments.data import delimited

TEXTS = ['she said "no"', "one, two", 'a 5" disk', "plain", '"quoted whole"', "two\nlines, 1", "tab\there", ""]


def read(content: str, delimiter: str = ",", label: str | None = "label") -> list[list[str]]:
    return [list(row) for row in delimited.read(content, delimiter, [], label).rows]


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_pandas_writes_is_read_as_it_was(delimiter: str, quoting: int, end: str) -> None:
    texts = [text.replace("\n", " ") if delimiter == "," else text for text in TEXTS * 3]
    frame = pd.DataFrame({"sentence": texts, "label": [n % 2 for n in range(len(texts))]})
    content = frame.to_csv(sep=delimiter, index=False, quoting=quoting, lineterminator=end)
    assert [row[0] for row in read(content, delimiter)] == texts


def test_rows_in_several_lines_are_one() -> None:
    texts = [f"he came\nand left, {n}" for n in range(6)]
    content = pd.DataFrame({"sentence": texts, "label": [0, 1] * 3}).to_csv(index=False)
    assert [row[0] for row in read(content)] == texts


@pytest.mark.parametrize("text", ['"hello', '"hello" he said', 'he said "hello"', '""hello""', 'a "b" c'])
def test_the_marks_of_glue_belong_to_the_text(text: str) -> None:
    assert read(f"sentence\tlabel\n{text}\t1\nplain, text\t0\n", "\t") == [[text, "1"], ["plain, text", "0"]]


def test_an_opening_and_a_closing_mark_in_two_rows_of_glue_take_in_no_row() -> None:
    assert read('label\tsentence\n1\t"open\n0\tplain\n1\tclose"\n', "\t") == [
        ["1", '"open'],
        ["0", "plain"],
        ["1", 'close"'],
    ]


def test_marks_that_can_be_read_in_both_ways_are_noted() -> None:
    found = delimited.read('sentence\tlabel\n"to be"\t1\nor, not\t0\n', "\t", [])
    assert [row[0] for row in found.rows] == ['"to be"', "or, not"]
    assert found.note == "the quotation marks around fields of 1 rows are read as part of the text"


def test_a_mark_within_a_text_says_that_none_quotes() -> None:
    found = delimited.read('sentence\tlabel\n"to be"\t1\na "b" c\t0\n', "\t", [])
    assert (found.rows, found.note) == ([['"to be"', "1"], ['a "b" c', "0"]], None)


def test_marks_around_the_names_of_columns_say_that_all_quote() -> None:
    found = delimited.read('"sentence"\t"label"\n"to be"\t"1"\n"or, not"\t"0"\n', "\t", [])
    assert (found.names, found.rows) == (["sentence", "label"], [["to be", "1"], ["or, not", "0"]])


def test_a_spreadsheet_quotes_just_the_fields_with_a_comma() -> None:
    found = delimited.read('sentence\tlabel\n"to be, or"\t1\nnot\t0\n', "\t", [])
    assert (found.rows, found.note) == ([["to be, or", "1"], ["not", "0"]], None)


@pytest.mark.parametrize("order", ["label first", "label last"])
@pytest.mark.parametrize("labels", [["0", "1"], ["negative", "positive"], ["0.25", "3.8"]])
@pytest.mark.parametrize("last", [11, 12, 40])
def test_a_mark_that_takes_in_rows_is_found(order: str, labels: list[str], last: int) -> None:
    lines = ["label,sentence" if order == "label first" else "sentence,label"]
    for number in range(60):
        text = ('"' if number == 10 else "") + f"text {number}" + ('"' if number == last else "")
        pair = [labels[number % 2], text]
        lines.append(",".join(pair if order == "label first" else reversed(pair)))
    with pytest.raises(ValueError, match="line 12: "):
        read("\n".join(lines))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('sentence,label\na,0\n"b,1\nc,0\n', "line 3: its quotation mark is never closed"),
        ('sentence,label\n"a" b,0\n', "line 2: text behind a closing quotation mark"),
        ("sentence,label\na,0\na,0,1\n", "line 3: 3 fields, where there are 2 columns"),
        ("sentence,label\n\n\na\n", "line 4: 1 fields, where there are 2 columns"),
        ('sentence,label\n"a\nb",0\nc\n', "line 4: 1 fields"),
    ],
)
def test_a_wrong_line_is_named(content: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(content)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_end_of_line(end: str) -> None:
    assert read(end.join(["sentence,label", "a\u2028b,0", "", "c,1", ""])) == [["a\u2028b", "0"], ["c", "1"]]


def test_a_field_may_be_of_any_length() -> None:
    assert read(f"sentence,label\n{'x' * 200_000},0\n")[0][0] == "x" * 200_000


def test_a_file_without_a_header_takes_the_names_given() -> None:
    found = delimited.read("gj04\t1\t\tHe left.\n", "\t", ["source", "label", "star", "sentence"], "label")
    assert found.texts("sentence").to_pylist() == ["He left."]
    assert found.values("star").to_pylist() == [None]


@pytest.mark.parametrize(
    ("fields", "values"),
    [(["1", "-2", ""], [1, -2, None]), (["007", "1"], ["007", "1"]), (["1", "a"], ["1", "a"]), (["0.5"], ["0.5"])],
)
def test_values_are_integers_where_all_are(fields: list[str], values: list[object]) -> None:
    assert delimited.Rows(["x"], [[field] for field in fields]).values("x").to_pylist() == values
