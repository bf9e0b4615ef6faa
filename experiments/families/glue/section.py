"""The keys of sentence tasks and of encoders."""

from __future__ import annotations

from typing import Annotated, Literal

from experiments.families.labels import LabelTask
from experiments.families.sections import FamilySections
from schema import sections
from schema.marks import RESULT, neutral_at
from schema.values import Count


class GlueTask(LabelTask):
    """A task of classes or numbers for sentences."""

    input_type: Annotated[Literal["text"], neutral_at("text"), "what the input columns hold"] = "text"
    label_type: Annotated[Literal["class"], neutral_at("class"), "a class or a number"] = "class"


class GlueBackbone(sections.Backbone):
    """An encoder of text."""

    pooling: Annotated[
        Literal["model", "mean", "cls"],
        RESULT,
        "`model`: the architecture's own head; `mean`, `cls`: a linear head on the pooled states",
    ]
    max_length: Annotated[Count, RESULT, "tokens; longer inputs are cut"]


SECTIONS = FamilySections(
    GlueTask,
    GlueBackbone,
    "tokenizer",
    embedded_backbone="embedded-encoder",
    pretraining="experiments.embedded.pretraining",
)
