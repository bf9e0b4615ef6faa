"""A number is read whole, or is none: never its beginning."""

from __future__ import annotations

import re

import pytest

from experiments.families.math.prompts import load
from experiments.families.math.scoring import score

WHOLE = {
    "10^6": "1000000",
    "10^{6}": "1000000",
    "10\u2076": "1000000",
    "10^-3": "0.001",
    "10\u207b\u00b3": "1/1000",
    "1e6": "1000000",
    "1.5E+3": "1500",
    "25e-1": "2.5",
    "2 \\times 10^3": "2000",
    "2 x 10^3": "2000",
    "2\u00d710\u00b3": "2000",
    "2*10^3": "2000",
    "1\\,234": "1234",
    "1{,}234": "1234",
    "1,\\!234": "1234",
    "1~234": "1234",
    "1\u00a0234": "1234",
    "1\u202f234": "1234",
    "1\u2009234\u2009567": "1234567",
    "1 234.5": "1234.5",
    "1_000": "1000",
    "1'000'000": "1000000",
    "1\u2019000": "1000",
    "1\uff0c234": "1234",
    "1\u066c234\u066b5": "1234.5",
    "12,34,567": "1234567",
    "\u20b912,34,567.50": "1234567.5",
    "3\u00bd": "3.5",
    "3 \u00bd": "3.5",
    "\u00be": "0.75",
    "-3\u00bd": "-3.5",
    "3 1/2": "3.5",
    "1\u20442": "0.5",
    "5 million": "5000000",
    "$2.5 million dollars": "2500000",
    "5 hundred thousand": "500000",
    "2 1/2 million": "2500000",
    "5 dozen eggs": "60",
    "5\\text{ million}": "5000000",
    "\\frac{3}{4}": "0.75",
    "\\dfrac{3}{4}": "0.75",
    "\\tfrac34": "0.75",
    "$\\frac{3}{4}$": "0.75",
    "\\(\\frac{3}{4}\\)": "0.75",
    "-\\frac{3}{4}": "-0.75",
    "2\\frac{1}{2}": "2.5",
    "0.\\overline{3}": "1/3",
    "0.1\\dot{6}": "1/6",
    "0.(3)": "1/3",
    "\u0664\u0662": "42",
    "\u096a\u0968": "42",
    "\uff14\uff12": "42",
    "4\u200b2": "42",
    "\u22125": "-5",
    "\u20135": "-5",
    "\u20105": "-5",
    "\ufe635": "-5",
    "\uff0d5": "-5",
    "\u20145": "-5",
    "- 5": "-5",
    "-$5": "-5",
    "$-5": "-5",
    "negative 5": "-5",
    "minus 5": "-5",
    "\u207b5": "-5",
    "\u27965": "-5",
    "+5": "5",
    "{5}": "5",
    "\\mathbf{5}": "5",
    "\\textcolor{red}{5}": "5",
    "\\text{5 apples}": "5",
    "5 apples": "5",
    "5cm": "5",
    "5 m": "5",
    "5th": "5",
    "5-year-old": "5",
    "5%": "5",
    "5\u20ac": "5",
    "5^\\circ": "5",
    "5/day": "5",
    "5 (2+3)": "5",
    "5 = 2+3": "5",
    "5, which is right": "5",
    "5:00 pm": "5",
    "5 12-inch rulers": "5",
    "5 200-page books": "5",
    "5 M&M's": "5",
    "5 sec": "5",
    "5 over 4 weeks": "5",
    "5!": "5",
    "5...": "5",
    "5. That is all": "5",
}
TORN = [
    "3:30",
    "2:1",
    "2 : 1",
    "5:30 pm",
    "2\uff1a1",
    "1.5.2",
    "1.000.000",
    "1.234,56",
    "1,2345",
    "3,45",
    "5,6",
    "5, 6",
    "5 6",
    "1/2/3",
    "2020-12-25",
    "3-4",
    "3\u20134",
    "3 - 4",
    "3 to 4",
    "3 or 4",
    "3*4",
    "3 x 4",
    "3 + 4",
    "2**3",
    "\u00b15",
    "5 \u00b1 2",
    "5\\pm 2",
    "5k",
    "5M",
    "5x",
    "5 x",
    "5\\pi",
    "5\u03c0",
    "5 pi",
    "4 theta",
    "4\\sqrt{2}",
    "4\u221a2",
    "5 squared",
    "5 thirds",
    "5\u2030",
    "5\u4e07",
    "25_6",
    "10 to the power of 6",
    "5 M",
    "5 bn",
    "5 tens",
    "5 \\over 6",
    "4:3:2",
    "5 K",
    "25\u2086",
    "0x1F",
    "5'6",
    "3 and a half",
    "3 and 1/2",
    "3 hours 30 minutes",
    "18 dollars and 50 cents",
    "\\sqrt{16}",
    "\\frac{x}{4}",
]
OPENERS = {"####": "plain", "The answer is:": "question-answer"}


def first_digits(text: str) -> str:
    match = re.search(r"\d+", text)
    return match.group() if match else "0"


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("text", WHOLE)
def test_a_number_is_read_whole(text, opener):
    prompt, value = load(OPENERS[opener]), WHOLE[text]
    scores = score([f"{opener} {text}\n"], [value], "number", prompt)
    assert (scores.strict, scores.lenient) == ((True,), (True,)), scores.strict_answers
    lenient = score([f"It has 7 steps. So the answer is {text}"], [value], "number", load("plain"))
    assert lenient.lenient == (True,), lenient.lenient_answers


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("text", TORN)
def test_what_is_no_number_gives_none_of_its_parts(text, opener):
    prompt = load(OPENERS[opener])
    scores = score([f"There are 7.\n{opener} {text}\n"], [first_digits(text)], "number", prompt)
    assert (scores.strict_answers, scores.lenient_answers) == ((None,), (None,))


@pytest.mark.parametrize(
    "text", [text for text, value in WHOLE.items() if text.isascii() and first_digits(text) != value]
)
def test_the_beginning_is_not_the_number(text):
    texts = [f"#### {text}", f"The answer is {text}", f"so x ={text}"]
    scores = score(texts, [first_digits(text)] * 3, "number", load("plain"))
    assert scores.lenient == (False,) * 3


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("#### 1. Cost\nIt is 20.\n#### 2. Tax\n2\n#### 22", "22", "22"),
        ("#### 1) Cost\n20\n**#### 2) Tax**\n#### 22", "22", "22"),
        ("#### 1. It costs 20.\n20\n#### 2. Tax is 2.\n2\n#### 22", "22", "22"),
        ("#### (1) Cost\n20\n#### (2) Tax\n2\n#### 22", "22", "22"),
        ("#### 1.1: Cost\n20\n#### 22", "22", "22"),
        ("#### Step 2\nIt is 20.", None, "20"),
        ("##### 5\nIt is 20.", None, "20"),
        ("### 5\nIt is 20.", None, "20"),
        ("#### 18. She has 2 more.\nAnd 3.", "18", "18"),
        ("#### 18\nShe has 2 more.", "18", "18"),
        ("#### 3 * 6 = 18", None, "18"),
        ("#### The total is 18", None, "18"),
        ("The answer is:\n- 18 apples", None, "18"),
        ("The answer is: - 18 apples", None, "- 18"),
        ("From 3:00 to 3:45 it is 45 minutes, until 3:50", None, "45"),
        ("16-9", None, "9"),
        ("x^2 and y_3", None, None),
        ("\\sqrt{16}", None, None),
        ("\\boxed 7", None, "7"),
        ("$\\boxed{\\color{blue}{7}}$", None, "{7}"),
    ],
)
def test_marks_that_declare_and_marks_that_do_not(text, strict, lenient):
    scores = score([text], ["1"], "number", load("plain"))
    assert (scores.strict_answers[0], scores.lenient_answers[0]) == (strict, lenient)
