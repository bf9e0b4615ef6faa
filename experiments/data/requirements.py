"""What a run needs from the Hugging Face hub, and which files of a repository that is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from huggingface_hub import constants

from experiments.data.data_set import DataSet
from experiments.families import sections_of
from schema.sections import Backbone

Processor = Literal["tokenizer", "image"]

CONFIGURATION = "config.json"
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"

PROCESSORS: Mapping[Processor, tuple[str, ...]] = {
    "tokenizer": (
        "tokenizer*",
        "vocab*",
        "merges.txt",
        "spiece.model",
        "sentencepiece*.model",
        "spm*.model",
        "source.spm",
        "target.spm",
        "*.tiktoken",
        "tekken.json",
        "bpe.codes",
        "dict.txt",
        "entity_vocab.json",
        "normalizer.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template*",
        "additional_chat_templates/*.jinja",
    ),
    "image": ("preprocessor_config.json",),
}
"""What a processor may read, as patterns of names below the root of a repository: the vocabulary files of transformers'
tokenizers, and what `PreTrainedTokenizerBase.from_pretrained` looks for whatever the class."""

CONFIGURATIONS = (CONFIGURATION, "generation_config.json")

_WEIGHTS = (*CONFIGURATIONS, WEIGHTS, "model-*.safetensors", INDEX)
"""As transformers writes them; `original/` and other frameworks' stay out."""


@dataclass(frozen=True)
class Requirement:
    """Something that a run needs from the hub.

    Args:
        kind: "model" (configuration, tokenizer or image processor, and safetensors weights) or "dataset".
        repo: OWNER/NAME on the hub.
        revision: branch, tag or commit.
        name: the data set's configuration, which is the folder of its files in the repository; None: the root.
        splits: the data splits needed; empty: any one.
        files: the very files needed, where it is not their usual names that say so; of a data set one for each split,
            in their order.
        processor: what a model's folder must hold besides configuration and weights: "tokenizer" or "image".
    """

    kind: Literal["model", "dataset"]
    repo: str
    revision: str = constants.DEFAULT_REVISION
    name: str | None = None
    splits: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    processor: Processor = "tokenizer"

    @property
    def key(self) -> str:
        """The setting that asks for the repository, with its value."""
        return f"{'backbone.hub' if self.kind == 'model' else 'task.hub.path'}={self.repo}"

    @property
    def revision_key(self) -> str:
        """The setting that asks for the revision, with its value."""
        return f"{'backbone.revision' if self.kind == 'model' else 'task.hub.revision'}={self.revision}"

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit already, which nothing can move."""
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None

    @property
    def patterns(self) -> list[str]:
        """The files to fetch, as patterns of their paths in the repository."""
        if self.files or self.kind == "dataset":
            names = self.files or [f"{split}{mark}*" for split in self.splits for mark in "-."] or ["*"]
            return [self._prefix + name for name in names]
        return [*_WEIGHTS, *PROCESSORS[self.processor]]

    @property
    def wanted(self) -> str:
        """What a complete folder holds, for people."""
        if self.files:
            return "files " + ", ".join(self._prefix + file for file in self.files)
        if self.kind == "dataset":
            return "Parquet files of the splits " + ", ".join(self._prefix + split for split in self.splits)
        processor = ", a tokenizer" if self.processor == "tokenizer" else ""
        return f"{CONFIGURATION}{processor} and weights ({WEIGHTS}, or its shards with {INDEX}; pickles are not read)"

    @property
    def _prefix(self) -> str:
        return f"{self.name}/" if self.name else ""


def dataset(data_set: DataSet) -> list[Requirement]:
    """A data set of the hub, with the splits that a run reads.

    More than one where the hub has the rows in several configurations, which then all belong to the task.
    """
    source, splits = data_set.hub, tuple(data_set.needed)
    assert source.path is not None
    files = tuple(source.files[split] for split in splits) if source.files is not None else ()
    names = source.name if isinstance(source.name, list) else [source.name]
    return [Requirement("dataset", source.path, source.revision, name, splits, files) for name in names]


def model(backbone: Backbone) -> Requirement:
    """Configuration, tokenizer or image processor, and weights of a backbone that is on the hub."""
    return Requirement("model", _on_hub(backbone), backbone.revision, processor=sections_of(backbone.family).processor)


def configuration(backbone: Backbone) -> Requirement:
    """The configuration alone of a backbone that is on the hub: enough for shapes, a download of kilobytes."""
    return Requirement("model", _on_hub(backbone), backbone.revision, files=(CONFIGURATION,))


def _on_hub(backbone: Backbone) -> str:
    assert backbone.hub, "validation refuses backbone.source=hub without a name"
    return backbone.hub
