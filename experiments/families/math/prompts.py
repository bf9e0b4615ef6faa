"""Prompt templates: what a question and its solution become, where a generation ends, what declares an answer.

The templates are data, `conf/prompt/*.yaml`. This module reads and checks them, and imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

import yaml

from experiments.configuration.groups import found, options
from experiments.errors import SpecError

_TEMPLATES = {"question": "question", "response": "solution"}
_REQUIRED = {"name": str, "question": str, "response": str, "stop": Sequence, "strict": Sequence}


@dataclass(frozen=True)
class Prompt:
    """One template.

    Args:
        name: of its file, without the suffix.
        question: what precedes the answer, with `{question}` once.
        response: what follows it in training, with `{solution}` once; the end-of-text token is the tokenizer's.
        stop: a generation ends before the first of these.
        strict: the phrases that declare an answer, besides the data set's own marker.
        cue: appended to the question when an answer is generated, never in training.
    """

    name: str
    question: str
    response: str
    stop: tuple[str, ...]
    strict: tuple[str, ...]
    cue: str = ""

    @classmethod
    def from_section(cls, section: Mapping[str, Any]) -> Prompt:
        """The template of a run's `prompt` section.

        Raises:
            SpecError: one line for every key that is missing, unknown or wrong.
        """
        errors = _errors(section)
        if errors:
            raise SpecError(errors)
        lists = {key: tuple(section[key]) for key in ("stop", "strict")}
        return cls(**{**section, **lists})

    def training(self, question: str, solution: str) -> tuple[str, str]:
        """The two halves of a training text: the question's, and the solution's, with blanks at their ends removed."""
        return self.question.format(question=question.strip()), self.response.format(solution=solution.strip())

    def evaluation(self, question: str) -> str:
        """What a model is asked to go on from."""
        return self.question.format(question=question.strip()) + self.cue


def load(name: str) -> Prompt:
    """The template of `conf/prompt/NAME.yaml`.

    Raises:
        SpecError: if there is no such file, or it is wrong.
    """
    return Prompt.from_section(section(name))


def section(name: str) -> dict[str, Any]:
    """The content of `prompt/NAME.yaml`, below conf/ or `--config-dir`, as a run's configuration keeps it.

    Raises:
        SpecError: if there is no such file.
    """
    path = found("prompt", name)
    if path is None:
        raise SpecError([f"task.prompt={name}: no such template; accepted: {', '.join(options('prompt'))}"])
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def _errors(section: Mapping[str, Any]) -> list[str]:
    known = [*_REQUIRED, "cue"]
    errors = [f"prompt.{key}: no such key; accepted: {', '.join(known)}" for key in section if key not in known]
    for key, kind in _REQUIRED.items():
        value: Any = section.get(key)
        if kind is str and (not isinstance(value, str) or not value):
            errors.append(f"prompt.{key}={value!r}: accepted: a text")
        elif kind is Sequence and not _is_list_of_texts(value):
            errors.append(f"prompt.{key}={value!r}: accepted: a list of texts that are not empty")
        elif key in _TEMPLATES and _fields(value) != [(_TEMPLATES[key], "", None)]:
            errors.append(f"prompt.{key}={value!r}: accepted: a text with {{{_TEMPLATES[key]}}} once, no other field")
    if not isinstance(section.get("cue", ""), str):
        errors.append(f"prompt.cue={section['cue']!r}: accepted: a text")
    return errors


def _is_list_of_texts(value: object) -> bool:
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    return listed and all(isinstance(text, str) and text.strip() for text in value)  # type: ignore[attr-defined]


def _fields(template: str) -> list[tuple[str, str | None, str | None]] | None:
    """The fields of a format string with their format and conversion; None where it is none."""
    try:
        return [(name, form, cast) for _, name, form, cast in Formatter().parse(template) if name is not None]
    except ValueError:
        return None
