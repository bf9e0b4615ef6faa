"""The keys of mathematical reasoning and of language models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from experiments.families.math.prompts import Prompt
from experiments.families.sections import FamilySections, score_errors
from schema import sections
from schema.marks import RESULT, neutral_at
from schema.values import Count, Flag, Text

AnswerKind = Literal["number", "math"]

_KIND = "`number`: behind the data set's mark; `math`: a formula in the last box"


class TestSet(sections.TestRows):
    """Rows of mathematical reasoning that a task is tested on."""

    family: Annotated[Text, RESULT, "as the task's"]
    kind: Annotated[AnswerKind, RESULT, _KIND]
    label_type: Annotated[Literal["text"], neutral_at("text"), "a solution to be learnt"] = "text"
    classes: Annotated[None, RESULT, "none"] = None
    max_new_tokens: Annotated[Count, RESULT, "after so many tokens a generation is cut"]


JUDGING = ("strict", "lenient")
"""The scores that say of each answer whether it is right: among the answers declared, or among those taken for one."""

SCORES = (*JUDGING, "unanswered", "loss")
"""Further: the part of the questions without even a lenient answer, and the loss of the reference solutions."""


class MathTask(sections.Task):
    """A task of mathematical reasoning."""

    input_type: Annotated[Literal["text"], neutral_at("text"), "what the input columns hold"] = "text"
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
    def tested_on(self) -> Mapping[str, sections.TestRows]:
        """See `Task.tested_on`."""
        return self.test_sets

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


SECTIONS = FamilySections(
    MathTask, MathBackbone, "tokenizer", embedded_backbone="embedded-causal", pretraining="experiments.embedded.causal"
)
