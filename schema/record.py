"""The run record as models: what `record.json` holds, in which unit, and when a value is null (docs/RECORD.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
)

from schema.diagnostics import Diagnostics
from schema.identity import VERSION
from schema.key import Key
from schema.part import Part
from schema.run import Track
from schema.sections import ProtocolName, Seeds
from schema.values import Text

SCHEMA = 2
"""The version of the record."""

Outcome = Literal["ok", "diverged", "broken_round_trip", "out_of_memory", "interrupted", "error"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
BROKEN: Outcome = "broken_round_trip"
"""Trained and scored, but what was saved or merged is another model: no table averages it, every table lists it."""
DONE: tuple[Outcome, ...] = ("ok", "diverged", BROKEN)
"""The outcomes after which a run need not be run again."""

Scores = dict[str, float | None]


class Identity(Part):
    """What the id is the hash of."""

    version: Annotated[int, "of what is covered; 1: before configuration files and commits were"] = VERSION
    hashed: Annotated[dict[str, Any], "settings, seeds and references; the id is the start of their sha256"] = Field(
        default_factory=dict
    )


class Error(Part):
    """Why the outcome is not `ok`."""

    type: Annotated[str, "the exception's name, `Diverged`, `BrokenRoundTrip` or `ProcessDied`"]
    message: Annotated[str, "its message"]
    traceback: Annotated[str | None, "a file in the run's folder"] = None


class Metrics(Part):
    """Final scores, as fractions; a score is null where the metric is undefined."""

    primary: Annotated[str | None, "the primary metric, which selects the epoch and which tables show"] = None
    selection: Annotated[Scores | None, "on the selection split, at the epoch that was kept"] = None
    test: Annotated[Scores | None, "on the test split; null with `protocol=best_on_dev` and `test=false`"] = None
    further_tests: Annotated[dict[str, Scores], "further test splits by name (MNLI: `mismatched`)"] = Field(
        default_factory=dict
    )


class Step(Part):
    """A point of the training curve, about ten per epoch."""

    step: Annotated[int, "optimizer steps so far"]
    epoch: Annotated[float, "epochs so far"]
    loss: Annotated[float | None, "mean training loss since the point before; null where not finite"]
    learning_rate: Annotated[float | None, "of the method's values"]
    head_learning_rate: Annotated[float | None, "of the head; null where there is none"]


class Epoch(Part):
    """The selection split after an epoch."""

    epoch: Annotated[float, "epochs so far; 0: before the first step"]
    selection: Annotated[Scores, "scores, and the mean `loss`"]


class History(Part):
    """The course of training."""

    steps: Annotated[list[Step], "training curve"] = Field(default_factory=list)
    epochs: Annotated[list[Epoch], "selection scores by epoch"] = Field(default_factory=list)
    best_epoch: Annotated[
        float | None, "the epoch that was kept, the earliest of equal ones; null: none had a score, or nothing trained"
    ] = None


class Sizes(Part):
    """Counts and bytes."""

    trainable: Annotated[int | None, "values that train: `theta` + `head`"] = None
    theta: Annotated[int | None, "trained values of the method, without the head: the count that papers report"] = None
    head: Annotated[int | None, "trained values of the new task head"] = None
    adapted_weights: Annotated[int | None, "entries of the backbone whose value the method may change"] = None
    total: Annotated[int | None, "parameters of the model, adapter included, each counted once"] = None
    dead_coordinates: Annotated[int | None, "trained values that no weight depends on"] = None
    runtime_state_bytes: Annotated[int | None, "bytes of fixed state beside the parameters (indices, projections)"] = (
        None
    )
    checkpoint_bytes: Annotated[int | None, "bytes of the checkpoint's file of tensors"] = None
    checkpoint_bytes_without_head: Annotated[int | None, "bytes of the same without the head's tensors"] = None


class Cost(Part):
    """Time, memory and speed."""

    pretraining_seconds: Annotated[float | None, "making the embedded backbone, about 0 where it was cached"] = None
    load_seconds: Annotated[float | None, "reading data and weights, tokenizing, building the model"] = None
    train_seconds: Annotated[float | None, "training, the evaluations after each epoch apart"] = None
    selection_seconds: Annotated[
        float | None, "the evaluations after each epoch; null in records of schema 1, whose training time holds them"
    ] = None
    eval_seconds: Annotated[float | None, "final predictions and scores"] = None
    tokens_per_second: Annotated[float | None, "training tokens, padding apart; null for images and packed rows"] = None
    examples_per_second: Annotated[float | None, "training examples"] = None
    peak_memory_bytes: Annotated[
        int | None,
        "most memory held at once until the scores stood: of the (first) process, on an accelerator of its tensors",
    ] = None


class Comparison(Part):
    """Outputs before and after a step of the round trip."""

    max_abs_logit_difference: Annotated[float | None, "largest difference of a logit; null where not finite"]
    tolerance: Annotated[float | None, "the largest that is accepted; null in records of schema 1"] = None
    changed_predictions: Annotated[int, "predictions that are others"]
    examples: Annotated[int, "how many were compared"]
    changed_weights: Annotated[int | None, "entries of merged weights that unmerging does not give back"] = None


class RoundTrip(Part):
    """What saving and merging change; a text says why a step was not measured: not applicable, skipped or failed."""

    reload: Annotated[Comparison | str | None, "saved, and reloaded into a fresh backbone"] = None
    merge: Annotated[Comparison | str | None, "the change added into the weights"] = None
    unmerge: Annotated[Comparison | str | None, "and taken out of them again"] = None


class Artifact(Part):
    """A file of the run's folder that belongs to its result."""

    path: Annotated[str, "relative to the run's folder, with `/`"]
    bytes: Annotated[int, "its size"]
    sha256: Annotated[str, "of its content"]


class Hardware(Part):
    """The machine."""

    processor: Annotated[str, "name"]
    instruction_set: Annotated[str, "that torch uses"]
    cores: Annotated[int | None, "of the machine"]
    memory_bytes: Annotated[int, "of the machine"]
    accelerator: Annotated[str | None, "name; null without one"]
    platform: Annotated[str, "operating system"]


class Accelerators(Part):
    """How many accelerators there are for a run."""

    visible: Annotated[int, "to its process"]
    used: Annotated[int, "of those: one for each process on the machine"]


class Provenance(Part):
    """Where the result comes from."""

    started: Annotated[str | None, "when the attempt began"] = None
    finished: Annotated[str | None, "when it ended"] = None
    git_sha: Annotated[str | None, "commit of the checkout; null outside one"] = None
    git_dirty: Annotated[bool | None, "whether its code or configuration differed from the commit"] = None
    packages: Annotated[dict[str, str], "versions by package, Python's among them"] = Field(default_factory=dict)
    hardware: Annotated[Hardware | None, "the machine"] = None
    accelerators: Annotated[Accelerators | None, "how many there were; null in records of schema 1"] = None
    threads: Annotated[int | None, "CPU threads of torch"] = None
    processes: Annotated[int | None, "that trained together; null in older records, of one"] = None
    determinism: Annotated[str | None, "`off`, `warn` or `strict`"] = None
    nondeterministic: Annotated[list[str], "operations met that have no deterministic kernel"] = Field(
        default_factory=list
    )
    resumed: Annotated[list[float], "the epochs after which earlier attempts were taken up"] = Field(
        default_factory=list
    )
    data_reference: Annotated[dict[str, JsonValue], "what the rows are; see identity"] = Field(default_factory=dict)
    backbone_reference: Annotated[dict[str, JsonValue], "what the weights are; see identity"] = Field(
        default_factory=dict
    )
    data_fingerprint: Annotated[dict[str, str], "sha256 of the rows really used, by split"] = Field(
        default_factory=dict
    )


class _Kept(BaseModel):
    """A part of the configuration that was run: typed as far as readers need it, kept and written as it was given."""

    model_config = ConfigDict(extra="allow", strict=True)

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the defaults of keys that the run did not have, such as those of another family."""
        return {name: value for name, value in handler(self).items() if name in self.model_fields_set}


class Config(_Kept):
    """The configuration that was run."""

    method: MethodConfig
    task: TaskConfig
    data: DataConfig
    backbone: BackboneConfig
    recipe: NamedConfig
    protocol: NamedConfig
    seeds: Seeds
    track: Track
    test: bool = True


class NamedConfig(_Kept):
    """A section with a name."""

    name: Text


class TaskConfig(NamedConfig):
    """The `task` section."""

    family: str = "glue"
    metrics: list[str] = Field(default_factory=list)
    primary_metric: str | None = None  # of schema 1

    @property
    def primary(self) -> str | None:
        """The primary metric."""
        return self.metrics[0] if self.metrics else self.primary_metric


class BackboneConfig(NamedConfig):
    """The `backbone` section."""

    image_size: int | None = None

    @property
    def label(self) -> str:
        """As columns name it: every method sees less of a smaller image, so that its size is a part of the name."""
        return self.name if self.image_size is None else f"{self.name}@{self.image_size}"


class DataConfig(_Kept):
    """The `data` section."""

    source: str


class MethodConfig(NamedConfig):
    """The `method` section."""

    capacity: str | None
    config: dict[str, JsonValue]


class Record(Part):
    """One attempt at a run that ended, well or not."""

    schema_version: Annotated[int, "version of the record; readers refuse any that they do not know"] = Field(
        default=SCHEMA, alias="schema"
    )
    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$"), "12 hexadecimal digits: the run's identity"]
    identity: Annotated[Identity, "what the id is the hash of"]
    key: Annotated[Key, "the table column that the run belongs to"]
    outcome: Annotated[Outcome, "how it ended"] = "error"
    error: Annotated[Error | None, "why the outcome is not `ok`"] = None
    config: Annotated[Config, "the resolved configuration"]
    protocol: Annotated[ProtocolName, "as `key.protocol`"]
    track: Annotated[Track, "as `key.track`"]
    metrics: Annotated[Metrics, "final scores"] = Field(default_factory=Metrics)
    history: Annotated[History, "the course of training"] = Field(default_factory=History)
    sizes: Annotated[Sizes, "counts and bytes"] = Field(default_factory=Sizes)
    cost: Annotated[Cost, "time, memory, speed"] = Field(default_factory=Cost)
    seeds: Annotated[Seeds, "the five seeds; runs of two methods are paired where all are equal"]
    round_trip: Annotated[RoundTrip, "what saving and merging changed"] = Field(default_factory=RoundTrip)
    diagnostics: Annotated[Diagnostics, "what `diagnostics=...` measured, and what was counted"] = Field(
        default_factory=Diagnostics
    )
    artifacts: Annotated[list[Artifact], "the files that belong to the result"] = Field(default_factory=list)
    provenance: Annotated[Provenance, "where the result comes from"] = Field(default_factory=Provenance)
    digest: Annotated[str | None, "sha256 of all other lines of the file; null, or not there, in older records"] = None

    @property
    def is_done(self) -> bool:
        """Whether the run need not be run again."""
        return self.outcome in DONE
