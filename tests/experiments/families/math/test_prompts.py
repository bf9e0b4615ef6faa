"""The prompt templates: the exact texts that their sources give, and what a wrong template is told."""

from __future__ import annotations

import pytest

from experiments.configuration.groups import CONF
from experiments.families.math.prompts import Prompt, load
from schema.validation import errors

ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nWhat is 2 + 2?\n\n### Response:"
)
GOOD = {"name": "x", "question": "{question}", "response": "{solution}", "stop": ["Q"], "strict": []}


@pytest.mark.parametrize(
    ("name", "training", "response", "evaluation"),
    [
        ("question-answer", "Question: What is 2 + 2?\nAnswer:", " 4", "Question: What is 2 + 2?\nAnswer:"),
        ("alpaca", ALPACA, "4", f"{ALPACA} Let's think step by step."),
        ("plain", "Q: What is 2 + 2?\nA:", " 4", "Q: What is 2 + 2?\nA:"),
    ],
)
def test_the_texts_are_those_of_the_sources(name, training, response, evaluation):
    prompt = load(name)
    assert prompt.training("  What is 2 + 2?\n", "4 \n") == (training, response)
    assert prompt.evaluation(" What is 2 + 2? ") == evaluation


def test_stop_strings_and_phrases_are_those_of_the_sources():
    found = {name: (load(name).stop, load(name).strict) for name in ("question-answer", "alpaca", "plain")}
    assert found == {
        "question-answer": (["Question", "[Question"], ["The answer is:"]),
        "alpaca": (["Instruction", "Response"], ["The answer is:"]),
        "plain": (["Q:"], []),
    }


@pytest.mark.parametrize("path", sorted((CONF / "prompt").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_template_loads_names_itself_and_says_its_source(path):
    assert load(path.stem).name == path.stem
    assert any(word in path.read_text(encoding="utf-8").partition("name:")[0] for word in ("arXiv", "PAPERS.md"))


@pytest.mark.parametrize("path", sorted((CONF / "prompt").glob("*.yaml")), ids=lambda path: path.stem)
def test_no_template_stops_at_its_own_beginning(path):
    prompt = load(path.stem)
    assert not any(stop in prompt.cue + prompt.response for stop in prompt.stop)
    assert any(stop in prompt.evaluation("?") for stop in prompt.stop), "a recited example would not be cut"


def test_braces_in_a_question_or_solution_stay():
    assert load("plain").training("$\\frac{1}{2}$ {question}?", "\\boxed{5}")[1] == " \\boxed{5}"
    assert load("plain").evaluation("$\\frac{1}{2}$ {question}?") == "Q: $\\frac{1}{2}$ {question}?\nA:"


def test_an_unknown_name_is_told_the_templates():
    with pytest.raises(ValueError, match="no such template; accepted: alpaca, plain, question-answer"):
        load("other")
    with pytest.raises(ValueError, match="no such template"):
        load("../task/glue/sst2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": "Q:"}, "with {question} once"),
        ({"question": "{question} {question}"}, "with {question} once"),
        ({"question": "{question.__class__}"}, "with {question} once"),
        ({"question": "{question!r}"}, "with {question} once"),
        ({"question": "{question} {"}, "with {question} once"),
        ({"response": "{answer}"}, "with {solution} once"),
        ({"response": None}, "prompt.response=null: not accepted; accepted: a text"),
        ({"stop": "Question"}, "prompt.stop=Question: not accepted; accepted: a list of texts"),
        ({"stop": [""]}, "accepted: a list of texts that are not empty"),
        ({"strict": [3]}, "prompt.strict=[3]: not accepted; accepted: a list"),
        ({"cue": 3}, "prompt.cue=3: not accepted; accepted: a text"),
        (
            {"stops": []},
            "prompt.stops: unknown key (did you mean prompt.stop?); accepted: name, question, response",
        ),
    ],
)
def test_a_wrong_template_is_refused_in_one_line(change, message):
    (line,) = errors(Prompt, {**GOOD, **change}, "prompt.")
    assert message in line


def test_all_errors_come_at_once():
    assert len(errors(Prompt, {"name": "x"}, "prompt.")) == 4
