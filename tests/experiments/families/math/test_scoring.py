"""From generations to scores: both scores, the stop strings, and that stored generations suffice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.families.math.prompts import Prompt, load
from experiments.families.math.scoring import cut, score

GOLDEN = [
    json.loads(line) for line in (Path(__file__).parent / "golden.jsonl").read_text(encoding="utf-8").splitlines()
]
TEXTS = [row for row in GOLDEN if "text" in row]


@pytest.mark.parametrize("row", TEXTS, ids=lambda row: f"{row['kind']}: {row['case']}")
def test_golden_texts(row):
    scores = score([row["text"]], [row["gold"]], row["kind"], load(row["prompt"]))
    found = (scores.strict_answers[0], scores.lenient_answers[0], scores.strict[0], scores.lenient[0])
    assert found == (row["strict_answer"], row["lenient_answer"], row["strict"], row["lenient"])


@pytest.mark.parametrize("row", TEXTS, ids=lambda row: f"{row['kind']}: {row['case']}")
def test_a_strict_answer_is_the_lenient_one_and_cutting_early_changes_nothing(row):
    prompt = load(row["prompt"])
    scores = score([row["text"]], [row["gold"]], row["kind"], prompt)
    assert scores.strict_answers[0] in (None, scores.lenient_answers[0])
    assert score([cut(row["text"], prompt.stop)], [row["gold"]], row["kind"], prompt) == scores


def test_metrics_by_hand():
    generations = [" 2 + 3 = 5\n#### 5", "It is 5.", "I do not know.", "\n#### 6"]
    scores = score(generations, ["5"] * 4, "number", load("plain"))
    assert scores.strict == (True, False, False, False)
    assert scores.lenient == (True, True, False, False)
    assert scores.metrics == {"strict": 0.25, "lenient": 0.5, "unanswered": 0.25}


def test_generations_stored_as_json_give_the_same_scores():
    rows = [row for row in TEXTS if row["kind"] == "math"]
    generations, golds = [row["text"] for row in rows], [row["gold"] for row in rows]
    first = score(generations, golds, "math", load("plain"))
    stored = json.loads(json.dumps({"generations": generations, "golds": golds}))
    assert score(stored["generations"], stored["golds"], "math", load("plain")) == first


def test_the_first_of_several_stop_strings_cuts():
    assert cut("5 [Question] 6 Question", ["Question", "[Question"]) == "5 "
    assert cut("5", ["Question"]) == "5"
    assert cut("Question: 5", ["Question"]) == ""
    assert cut("5", []) == "5"


def test_every_case_that_was_collected(shared_data):
    path = shared_data.parent / "cases" / "scorer.jsonl"
    if not path.is_file():
        pytest.skip("the collected cases are not here")
    for row in map(json.loads, path.read_text(encoding="utf-8").split("\n")[:-1]):
        scores = score([row["text"]], [row["gold"]], row["kind"], load(row["prompt"]))
        for expected, found in ((row["strict"], scores.strict[0]), (row["lenient"], scores.lenient[0])):
            assert expected in (None, found), row["id"]


def test_a_stop_string_in_prose_ends_the_strict_text_alone():
    prompt = load("question-answer")
    for text in (
        "The Question is easy.\n\\boxed{5}",
        "To the Question, then.\nThe answer is: 5",
        "Question is easy: 5",
    ):
        scores = score([text], ["5"], "math", prompt)
        assert (scores.strict, scores.lenient) == ((False,), (True,))
    for recital in (
        "so 5\nQuestion: 7",
        "so 5 Question: 7",
        "so 5 Question 2: 7",
        "so 5. Question 7",
        "so 5 [Question 7",
    ):
        assert score([recital], ["5"], "number", prompt).lenient == (True,), recital
    assert score(["so 5 ? 7"], ["5"], "number", load("words")).lenient == (True,)


def test_the_prompts_phrase_makes_an_answer_strict():
    prompt = Prompt(name="own", question="{question}", response="{solution}", stop=[], strict=["So it is"])
    assert score(["So it is 5"], ["5"], "number", prompt).strict == (True,)
    assert score(["So it is 5"], ["5"], "number", load("plain")).strict == (False,)


def test_wrong_input_is_refused():
    plain = load("plain")
    with pytest.raises(ValueError, match="0 generations, 0 gold answers; accepted: equally many, at least 1"):
        score([], [], "number", plain)
    with pytest.raises(ValueError, match="1 generations, 2 gold answers"):
        score(["5"], ["5", "6"], "number", plain)
    with pytest.raises(ValueError, match=r"row 0: gold=.five.: accepted: a number"):
        score(["5"], ["five"], "number", plain)
    with pytest.raises(ValueError, match=r"row 0: gold=. .: accepted: a formula"):
        score(["5"], [" "], "math", plain)
