"""Prompt templates: what a question and its solution become, where a generation ends, what declares an answer.

The templates are data, `conf/prompt/*.yaml`. This module reads and checks them, and imports nothing heavy.
"""

from __future__ import annotations

from string import Formatter
from typing import Annotated

import yaml
from pydantic import AfterValidator, model_validator

from experiments.configuration.groups import found, options
from schema.marks import RESULT, Section, neutral_at
from schema.values import Accepts, Text


def _fields(template: str) -> list[tuple[str, str | None, str | None]]:
    """The fields of a format string, each with its format and its conversion."""
    return [(name, form, cast) for _, name, form, cast in Formatter().parse(template) if name is not None]


def _with(field: str) -> AfterValidator:
    def check(template: str) -> str:
        if _fields(template) != [(field, "", None)]:
            raise ValueError(f"not a template of {field}")
        return template

    return AfterValidator(check)


def _not_blank(texts: list[str]) -> list[str]:
    if not all(text.strip() for text in texts):
        raise ValueError("blank")
    return texts


Phrases = Annotated[list[str], AfterValidator(_not_blank), Accepts("a list of texts that are not empty")]


class Prompt(Section):
    """One template; in a configuration, a name in conf/prompt stands for it."""

    name: Annotated[Text, RESULT, "of its file, without the suffix"]
    question: Annotated[
        Text,
        _with("question"),
        Accepts("a text with {question} once, no other field"),
        RESULT,
        "what precedes the answer",
    ]
    response: Annotated[
        Text,
        _with("solution"),
        Accepts("a text with {solution} once, no other field"),
        RESULT,
        "what follows it in training; the end-of-text token is the tokenizer's",
    ]
    stop: Annotated[Phrases, RESULT, "a generation ends before the first of these"]
    strict: Annotated[Phrases, RESULT, "the phrases that declare an answer, besides the data set's own marker"]
    cue: Annotated[
        Annotated[str, Accepts("a text")], neutral_at(""), "appended to the question when an answer is generated"
    ] = ""

    @classmethod
    def named(cls, name: object) -> object:
        """The content of `prompt/NAME.yaml`, below conf/ or `--config-dir`; what is no name stays as it is.

        Raises:
            ValueError: if there is no such file, saying which there are.
        """
        if not isinstance(name, str):
            return name
        path = found("prompt", name)
        if path is None:
            raise ValueError(f"no such template; accepted: {', '.join(options('prompt'))}")
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        return cls.named(value)

    def training(self, question: str, solution: str) -> tuple[str, str]:
        """The two halves of a training text: the question's, and the solution's, with blanks at their ends removed."""
        return self.question.format(question=question.strip()), self.response.format(solution=solution.strip())

    def evaluation(self, question: str) -> str:
        """What a model is asked to go on from."""
        return self.question.format(question=question.strip()) + self.cue


def load(name: str) -> Prompt:
    """The template of `conf/prompt/NAME.yaml`.

    Raises:
        ValueError: if there is no such file, or it is wrong.
    """
    return Prompt.model_validate(Prompt.named(name))
