"""The sections of a run's configuration that every family of tasks has: conf/ holds their values.

A family's own keys are fields of subclasses of `Task` and `Backbone` beside its code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from schema.marks import NEUTRAL, REFERENCE, RESULT, SEED, WHERE, Section, neutral_at
from schema.values import (
    Batch,
    BelowOne,
    Count,
    Epochs,
    Flag,
    Folder,
    Fraction,
    Interval,
    Name,
    Named,
    Names,
    NamesOrNone,
    NotNegative,
    Odd,
    Options,
    Pattern,
    Positive,
    SeedValue,
    Several,
    Share,
    TaskName,
    Text,
    Texts,
)

SourceName = Literal["hub", "local", "embedded"]
ProtocolName = Literal["heldout", "best_on_dev"]

_SPLITS = ("train", "selection", "test")
"""The roles of a data set's splits."""


class Seeds(Section):
    """The five seeds of a run; `seed` sets all of them."""

    partition: Annotated[SeedValue, SEED, "a method's fixed random projection"]
    init: Annotated[SeedValue, SEED, "trainable initial values"]
    head: Annotated[SeedValue, SEED, "the new head's values"]
    data: Annotated[SeedValue, SEED, "order, dropout, augmentation"]
    split: Annotated[SeedValue, SEED, "the selection split and the subset"]


class Method(Section):
    """A method of fine-tuning."""

    name: Annotated[Name, RESULT, "as in `method=NAME`"]
    result_version: Annotated[Count, RESULT, "raised by hand when the same configuration gives other results"] = 1
    capacity: Annotated[Text | None, RESULT, "the key of `config` that `d` sets; null: the method has none"] = None
    decay_vectors: Annotated[Flag, RESULT, "whether weight decay acts on the method's trained vectors"] = False
    config: Annotated[Options, RESULT, "the method's own configuration; `_target_` names its class"]


class HubRows(Section):
    """Where the rows of a task are on the hub."""

    path: Annotated[Text | None, REFERENCE, "OWNER/NAME; null: not on the hub"] = None
    name: Annotated[Text | Names | None, REFERENCE, "the configuration; a list: all of them together"] = None
    revision: Annotated[Text, REFERENCE, "branch, tag or commit"] = "main"
    rows: Annotated[dict[str, Count], NEUTRAL, "rows of each split, for what is said before a download"] = Field(
        default_factory=dict
    )
    files: Annotated[Texts | None, REFERENCE, "the file of each split, where files are not named by splits"] = None


class TestRows(Section):
    """Rows of a data set that a task is tested on, where it is another than its own."""

    __test__ = False  # no test of pytest's

    name: Annotated[TaskName, RESULT, "as in `task=NAME`"]
    inputs: Annotated[Names, RESULT, "the columns that a model is given"]
    label: Annotated[Text, RESULT, "the column of the label"]
    label_type: Annotated[Literal["class", "text"], neutral_at("class"), "`text`: a solution to be learnt"] = "class"
    classes: Annotated[Names | Count | None, RESULT, "names in the order of their ids, or how many"] = None
    splits: Annotated[Texts, RESULT, "the data set's split for `test`"]
    hub: HubRows = Field(default_factory=HubRows)

    def problems(self) -> list[str]:
        """No split to be tested on."""
        return [] if "test" in self.splits else ["splits.test: missing; accepted: a text"]


class Task(Section):
    """A task: whose rows, which columns, which scores."""

    name: Annotated[TaskName, RESULT, "as in `task=NAME`"]
    family: Annotated[Text, RESULT, "the family of tasks whose code runs it"]
    result_version: Annotated[Count, RESULT, "raised by hand when a change of the task's code changes results"] = 1
    input_type: Annotated[Literal["text", "image"], neutral_at("text"), "what the input columns hold"] = "text"
    inputs: Annotated[Names, RESULT, "the columns that a model is given"]
    label: Annotated[Text, RESULT, "the column of the label"]
    label_type: Annotated[Literal["class", "text"], neutral_at("class"), "`text`: a solution to be learnt"] = "class"
    aliases: Annotated[Texts, neutral_at({}), "other names of columns, and what they are called here"] = Field(
        default_factory=dict
    )
    columns: Annotated[Texts, REFERENCE, "our columns, and what they are called in the files"] = Field(
        default_factory=dict
    )
    original_names: Annotated[
        Texts, REFERENCE, "names of columns in the data set's own files, and what they are called here"
    ] = Field(default_factory=dict)
    original_header: Annotated[
        NamesOrNone, REFERENCE, "the columns of the data set's own files, where the first line does not name them"
    ] = Field(default_factory=list)
    label_range: Annotated[Interval | None, NEUTRAL, "the least and the largest label of a regression"] = None
    classes: Annotated[
        Names | Count | Literal["folder"] | None,
        RESULT,
        "names in the order of their ids, or how many; `folder`: those of the folder; null: a regression",
    ]
    metrics: Annotated[
        Names, RESULT, "the scores that are computed; the first one selects the epoch and stands in tables"
    ]
    splits: Annotated[Texts, RESULT, "the data set's split for `train`, `test` and, where there is one, `selection`"]
    selection_fraction: Annotated[Share | None, neutral_at(None), "the part of train that selects"] = None
    extra_test: Annotated[Named, RESULT, "further test splits by name"] = Field(default_factory=dict)
    rows_of: Annotated[Text | None, neutral_at(None), "the task whose rows these are, where another's"] = None
    hub: HubRows = Field(default_factory=HubRows)

    @property
    def tested_on(self) -> Mapping[str, TestRows]:
        """The data sets of its tests by name, the first of them "test"; none where its own splits are the tests."""
        return {}

    @property
    def primary_metric(self) -> str:
        """The score that selects the epoch and that tables show."""
        return self.metrics[0]

    @property
    def needed_splits(self) -> tuple[str, ...]:
        """The splits without which there is nothing to train on, or nothing to be tested on."""
        return ("train", "test")

    def problems(self) -> list[str]:
        """Splits that are missing, unknown or those that train, columns that are none, scores that are named twice."""
        lines = [f"splits.{name}: missing; accepted: a text" for name in self.needed_splits if name not in self.splits]
        for name, split in self.splits.items():
            if name not in _SPLITS:
                lines.append(f"splits.{name}={split}: no such split; accepted: {', '.join(_SPLITS)}")
            elif name != "train" and split == self.splits.get("train"):
                lines.append(f"splits.{name}={split}: the rows that train; accepted: another split")
        readable = [*self.inputs, self.label, "idx"]
        lines += [
            f"columns.{name}={theirs}: no column of the task; accepted: {', '.join(readable)}"
            for name, theirs in self.columns.items()
            if name not in readable
        ]
        twice = [name for name in dict.fromkeys(self.metrics) if self.metrics.count(name) > 1]
        return lines + [f"metrics={name}: named twice; accepted: each score once" for name in twice]


class Data(Section):
    """Where rows come from, and how many of them are used."""

    source: Annotated[SourceName, RESULT, "where the rows come from"]
    path: Annotated[Folder | None, WHERE, "the folder of `source=local`"] = None
    train_rows: Annotated[Count | None, RESULT, "so many training rows, drawn by `seeds.split`; null: all"] = None
    test_rows: Annotated[Count | None, RESULT, "so many test rows, drawn by `seeds.split`; null: all"] = None

    def problems(self) -> list[str]:
        """A local source without a folder."""
        if self.source != "local" or self.path:
            return []
        return ["path=null: data.source=local needs a folder; accepted: an existing folder"]


class Backbone(Section):
    """A pretrained model."""

    name: Annotated[Name, RESULT, "as in `backbone=NAME`"]
    family: Annotated[Text, REFERENCE, "the family of tasks that it is for"]
    source: Annotated[SourceName, REFERENCE, "where the weights come from"]
    hub: Annotated[Text | None, REFERENCE, "OWNER/NAME of `source=hub`"] = None
    revision: Annotated[Text, REFERENCE, "branch, tag or commit"] = "main"
    path: Annotated[Folder | None, WHERE, "the folder of `source=local`"] = None
    target_modules: Annotated[Names | Pattern, RESULT, "what methods adapt: names, or one pattern"]
    head: Annotated[NamesOrNone, RESULT, "the modules that a run trains anew, whatever the method"]
    architecture: Annotated[
        Options | None, RESULT, "keys of the model's configuration, over those of its config.json"
    ] = None

    @property
    def label(self) -> str:
        """The backbone as a column of a table names it."""
        return self.name

    def problems(self) -> list[str]:
        """A source without what it needs."""
        if self.source == "local" and not self.path:
            return ["path=null: backbone.source=local needs a folder; accepted: an existing folder"]
        if self.source == "hub" and not self.hub:
            return ["hub=null: backbone.source=hub needs a name; accepted: OWNER/NAME on the model hub"]
        return []


class Recipe(Section):
    """How a model is trained."""

    name: Annotated[Text, NEUTRAL, "where the values come from; `default`: from no recipe of this method and task"]
    d: Annotated[Count | None, NEUTRAL, "the capacity where `d` is null; it stands where the method keeps it"] = None
    epochs: Annotated[Epochs, RESULT, "passes over the training rows"]
    batch_size: Annotated[Batch, RESULT, "examples in a batch"]
    accumulation: Annotated[Batch, neutral_at(1), "batches in an optimizer step"]
    eval_batch_size: Annotated[Batch, RESULT, "examples in a batch of an evaluation"]
    learning_rate: Annotated[Positive, RESULT, "of the method's values"]
    head_learning_rate: Annotated[Positive, RESULT, "of the head"]
    weight_decay: Annotated[NotNegative, RESULT, "AdamW's"]
    warmup_ratio: Annotated[Fraction, RESULT, "the part of the steps in which the rates rise"]
    schedule: Annotated[
        Literal["linear", "cosine", "constant", "constant_with_warmup"], RESULT, "of the rates after it"
    ]
    max_grad_norm: Annotated[NotNegative, RESULT, "0: no clipping"]
    dropout: Annotated[BelowOne, RESULT, "of the adapter"]
    label_smoothing: Annotated[BelowOne, neutral_at(0.0), "of classes"]
    precision: Annotated[
        Literal["float32", "bfloat16", "float16"], neutral_at("float32"), "of forward and backward (autocast)"
    ]
    group_by_length: Annotated[Flag, RESULT, "batches of similar length"]
    sources: Annotated[dict[str, Text], NEUTRAL, "where each value is from"]


class Protocol(Section):
    """Which rows choose the epoch, and which are the test."""

    name: Annotated[ProtocolName, RESULT, "as in `protocol=NAME`"]


class Diagnostics(Section):
    """What is measured beside the scores, which it does not change."""

    name: Annotated[Text, NEUTRAL, "as in `diagnostics=NAME`"]
    measures: Annotated[list[Literal["isometry", "landscape"]], NEUTRAL, "what is measured"]
    seed: Annotated[SeedValue, NEUTRAL, "of everything drawn here"]
    snapshots: Annotated[Several, NEUTRAL, "trained values kept along training"]
    pairs: Annotated[Count, NEUTRAL, "pairs of points whose distances are compared"]
    dense_limit: Annotated[Count, NEUTRAL, "the largest dimension that is computed whole"]
    spectrum: Annotated[Count, NEUTRAL, "singular values kept of each weight change"]
    rows: Annotated[Count, NEUTRAL, "training examples of the landscape"]
    eigenvalues: Annotated[Count, NEUTRAL, "eigenvalues at each end of the spectrum"]
    grid: Annotated[Odd, NEUTRAL, "points along each axis of the surface"]
    directions: Annotated[Several, NEUTRAL, "random directions"]
    extent: Annotated[Positive, NEUTRAL, "of the axes, in norms of the trained values"]


class Logger(Section):
    """The mirror in Weights & Biases."""

    wandb: Annotated[Literal["offline", "online", "disabled"], NEUTRAL, "where the mirror goes"]
    project: Annotated[Text, NEUTRAL, "its project"]
    entity: Annotated[Text | None, NEUTRAL, "its team or user"] = None
