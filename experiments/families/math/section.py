"""The keys of mathematical reasoning and of language models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from experiments.families.math.prompts import Prompt
from experiments.families.sections import FamilySections, score_errors
from schema import sections
from schema.marks import RESULT, Section, neutral_at
from schema.values import Count, Flag, Names, Text, Texts

AnswerKind = Literal["number", "math"]

_KIND = "`number`: behind the data set's mark; `math`: a formula in the last box"


class TestSet(Section):
    """Rows of a data set that a task is tested on."""

    __test__ = False  # no test of pytest's

    name: Annotated[Text, RESULT, "as in `task=NAME`"]
    family: Annotated[Text, RESULT, "as the task's"]
    kind: Annotated[AnswerKind, RESULT, _KIND]
    inputs: Annotated[Names, RESULT, "the columns that a model is given"]
    label: Annotated[Text, RESULT, "the column of the solution"]
    label_type: Annotated[Literal["text"], neutral_at("text"), "a solution to be learnt"] = "text"
    classes: Annotated[None, RESULT, "none"] = None
    splits: Annotated[Texts, RESULT, "the data set's split for `test`"]
    max_new_tokens: Annotated[Count, RESULT, "after so many tokens a generation is cut"]
    hub: sections.HubRows


JUDGING = ("strict", "lenient")
"""The scores that say of each answer whether it is right: among the answers declared, or among those taken for one."""

SCORES = (*JUDGING, "unanswered", "loss")
"""Further: the part of the questions without even a lenient answer, and the loss of the reference solutions."""


class MathTask(sections.Task):
    """A task of mathematical reasoning."""

    kind: Annotated[AnswerKind, RESULT, _KIND] = "number"
    label_type: Annotated[Literal["text"], RESULT, "a solution to be learnt"] = "text"
    classes: Annotated[None, RESULT, "none"] = None
    prompt: Prompt = Field(default="plain", validate_default=True)
    loss: Annotated[
        Literal["response", "text"], RESULT, "what is learnt: the solution, or the question as well (the authors')"
    ] = "response"
    packing: Annotated[Flag, RESULT, "several examples in one row"] = False
    keep: Annotated[
        Literal["first", "last"], RESULT, "of an example longer than the context: the authors keep its last tokens"
    ] = "last"
    calculator_marks: Annotated[Literal["keep", "drop"], RESULT, "GSM8K's <<3*4=12>>"] = "keep"
    max_new_tokens: Annotated[Count, RESULT, "after so many tokens a generation is cut (PAPERS.md, GSM8K)"] = 1024
    generation: Annotated[Literal["transformers", "vllm"], neutral_at("transformers"), "the engine that generates"] = (
        "transformers"
    )
    test_sets: dict[str, TestSet] = Field(default_factory=dict)

    @property
    def needed_splits(self) -> tuple[str, ...]:
        """Nothing of its own to be tested on where there are test sets."""
        return ("train",) if self.test_sets else super().needed_splits

    def problems(self) -> list[str]:
        """Scores that there are not of generated answers, or none of right answers in the first place."""
        lines = [*super().problems(), *score_errors(self.metrics, SCORES, "generated answers")]
        if self.primary_metric in SCORES and self.primary_metric not in JUDGING:
            lines.append(
                f"metrics={self.primary_metric}: does not say which answers are right; "
                f"accepted as the first: {', '.join(JUDGING)}"
            )
        return lines


class MathBackbone(sections.Backbone):
    """A language model."""

    max_length: Annotated[Count, RESULT, "tokens of the context"]


SECTIONS = FamilySections(MathTask, MathBackbone, embedded_backbone="embedded-causal")
