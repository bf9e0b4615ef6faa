"""The keys of mathematical reasoning and of language models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from experiments.families.math.prompts import Prompt
from experiments.families.sections import FamilySections
from schema import sections
from schema.marks import RESULT, Section, neutral_at
from schema.values import Count, Flag, Names, Text, Texts

AnswerKind = Literal["number", "math"]


class TestSet(Section):
    """Rows of a data set that a task is tested on."""

    __test__ = False  # no test of pytest's

    name: Annotated[Text, RESULT, "as in `task=NAME`"]
    family: Annotated[Text, RESULT, "as the task's"]
    kind: Annotated[AnswerKind, RESULT, "`number`: behind the data set's mark; `math`: a formula in the last box"]
    inputs: Annotated[Names, RESULT, "the columns that a model is given"]
    label: Annotated[Text, RESULT, "the column of the solution"]
    label_type: Annotated[Literal["text"], neutral_at("text"), "a solution to be learnt"] = "text"
    classes: Annotated[None, RESULT, "none"] = None
    splits: Annotated[Texts, RESULT, "the data set's split for `test`"]
    max_new_tokens: Annotated[Count, RESULT, "after so many tokens a generation is cut"]
    hub: sections.HubRows


class MathTask(sections.Task):
    """A task of mathematical reasoning."""

    kind: Annotated[AnswerKind, RESULT, "`number`: behind the data set's mark; `math`: a formula in the last box"]
    label_type: Annotated[Literal["text"], RESULT, "a solution to be learnt"] = "text"
    prompt: Prompt
    loss: Annotated[Literal["response", "text"], RESULT, "what is learnt: the solution, or the question as well"]
    packing: Annotated[Flag, RESULT, "several examples in one row"]
    keep: Annotated[Literal["first", "last"], RESULT, "of an example longer than the context"]
    calculator_marks: Annotated[Literal["keep", "drop"], RESULT, "GSM8K's <<3*4=12>>"]
    max_new_tokens: Annotated[Count, RESULT, "after so many tokens a generation is cut"]
    generation: Annotated[Literal["transformers", "vllm"], neutral_at("transformers"), "the engine that generates"] = (
        "transformers"
    )
    test_sets: dict[str, TestSet] = Field(default_factory=dict)


class MathBackbone(sections.Backbone):
    """A language model."""

    max_length: Annotated[Count, RESULT, "tokens of the context"]


SECTIONS = FamilySections(
    MathTask, MathBackbone, "tokenizer", embedded_backbone="embedded-causal", pretraining="experiments.embedded.causal"
)
