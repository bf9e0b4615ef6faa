"""Answers and their equality, against a golden file of awkward ones and against every gold answer of the data sets."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.families.math import expressions
from experiments.families.math.answers import equal, extract, gold_answer, is_number

GOLDEN = [
    json.loads(line) for line in (Path(__file__).parent / "golden.jsonl").read_text(encoding="utf-8").splitlines()
]
PAIRS = [row for row in GOLDEN if "equal" in row]


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / name
    if not path.is_file():
        pytest.skip(f"real data is not here: no file {name}")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize("row", PAIRS, ids=lambda row: f"{row['case']}: {row['answer']} | {row['gold']}")
def test_golden_pairs(row):
    assert equal(row["answer"], row["gold"], row["kind"]) is row["equal"]
    assert equal(row["gold"], row["answer"], row["kind"]) is row["equal"], "equality has no direction"


def test_the_golden_file_is_whole():
    assert len(PAIRS) == 126
    assert len(GOLDEN) - len(PAIRS) == 59
    assert {row["equal"] for row in PAIRS} == {True, False}


@pytest.mark.parametrize(("name", "count"), [("train", 7473), ("test", 1319)])
def test_every_gold_answer_of_gsm8k_equals_itself_and_its_own_digits(shared_data, name, count):
    solutions = [row["answer"] for row in rows(shared_data, f"gsm8k/{name}.jsonl.gz")]
    assert len(solutions) == count
    for solution in solutions:
        gold = gold_answer(solution, "number")
        assert gold == solution.rpartition("#### ")[2]
        digits = gold.replace(",", "")
        assert all(equal(answer, gold, "number") for answer in (gold, digits, f"${gold}.", f"{digits}.00 dollars"))
        assert not equal(str(int(digits) + 1), gold, "number")
        assert extract(solution, "number", "strict") == extract(solution, "number", "lenient") == gold


def test_every_gold_answer_of_math_is_found_and_equals_itself_in_other_clothes(shared_data):
    data = rows(shared_data, "math/test.jsonl.gz")
    assert len(data) == 5000
    for row in data:
        gold = gold_answer(row["solution"], "math")
        assert gold == row["answer"].strip()
        other = gold.replace("\\frac{", "\\dfrac {").replace("\\left", "").replace("\\right", "")
        assert all(equal(answer, gold, "math") for answer in (gold, f"$ {gold} $", f"{other}."))


def test_different_gold_answers_of_math_are_equal_only_where_units_differ(shared_data):
    # Neighbours in alphabetical order resemble each other most.
    golds = sorted({row["answer"].strip() for row in rows(shared_data, "math/test.jsonl.gz")})
    same = [pair for pair in itertools.pairwise(golds) if equal(*pair, "math")]
    assert {("25", "25 \\, \\text{km}"), ("7.2", "7.2\\%")} <= set(same)
    unit = re.compile(r"\s|\\,|\\(?:text|mbox) *\{[^}]*\}(?:\^\d)?|\^\{?\\circ\}?|\\%")
    assert [pair for pair in same if len({unit.sub("", answer) for answer in pair}) > 1] == []


def test_a_gold_solution_without_an_answer_is_refused():
    with pytest.raises(ValueError, match=r"an answer without a number: .*'no idea'; accepted: #### and a number"):
        gold_answer("no idea", "number")
    with pytest.raises(ValueError, match=r"an answer without a math.*boxed"):
        gold_answer("It is $5$.", "math")


def test_strict_matches_the_declared_phrase_only():
    text = "The result is: 5"
    assert extract(text, "number", "strict") is None
    assert extract(text, "number", "strict", ["The result is:"]) == "5"
    assert extract(text, "number", "strict", ["the result is:"]) is None
    assert extract("The  result\nis:  5", "number", "strict", ["The result is: "]) == "5"
    assert extract(text, "math", "strict", []) is None


@pytest.mark.parametrize(
    "text",
    [
        "9^{9^{9^{9^{9}}}}",
        "(" * 5000,
        "-" * 5000,
        "{" * 300,
        "\\sqrt" * 70,
        "\\frac" * 70,
        "2^" * 190 + "2",
        "(x+1)^{9999}" * 30,
        "((((x^{99})^{99})^{99})^{99})",
        "1," * 199 + "1",
        "(" * 150 + "1,2" + ")" * 150,
        "(1," * 90 + "1" + ")" * 90,
        "\\{" * 90 + "1" + ",1\\}" * 90,
        "x=" * 190,
        "\\pm1," * 70,
        "\\begin{pmatrix}" + "1&" * 150 + "\\end{pmatrix}",
        "1/0",
        "10^{400}\\pi",
        "\\text{" * 2000,
        "\\boxed{" * 2000,
        "$" * 4001,
        "answer is " * 2000,
        "The answer is: " * 1000,
        "1 " * 4000,
        "1," * 4000,
        "####" * 2000 + " " * 2000,
        "lots of words " * 1000,
        "5" + " " * 4000 + "million",
        "5 " + "hundred " * 500,
        "1\u00a0000" * 800,
        "\u00bd" * 2000,
        "1e9999999999",
        "10^{9999999999}",
        "(10^{300})!",
        "1000!" * 80,
        "\\binom{1000}{500}" * 20,
        "\\pi^{\\pi^{\\pi^{\\pi^{\\pi}}}}",
        "\\sqrt[10^{-300}]{2}",
        "\\pm\\pm5",
        "0.\\overline{" + "1" * 5000 + "}",
        "\\a" + "{" * 4000,
        "\\color{" * 1000,
        "#### 1. a\n" * 800,
        "1<" * 199 + "1",
    ],
    ids=lambda text: text[:12],
)
def test_no_text_takes_long_or_raises(text):
    start = time.process_time()
    for kind in ("number", "math"):
        for mode in ("strict", "lenient"):
            extract(text, kind, mode)
        equal(text, text + "1", kind)
        equal(text[:380], "1" + text[:380], kind)
        equal(text, text.replace("1", "2", 1), kind)
        equal(text, "5", kind)
    assert time.process_time() - start < 2


def test_values_beyond_floats_are_equal_to_nothing_but_themselves():
    assert equal("10^{400}\\pi", "10^{400}\\pi", "math")
    assert not equal("10^{400}\\pi", "10^{401}\\pi", "math")
    assert not expressions.identical("(10^{200}\\pi)(10^{200}\\pi)", "(10^{201}\\pi)(10^{201}\\pi)")


def test_rational_values_are_exact():
    assert expressions.number("12345678901234567890.1") != expressions.number("12345678901234567890.2")
    assert not equal("12345678901234567890x", "12345678901234567891x", "math")
    assert is_number("6\\frac15")
    assert not is_number("6x")
