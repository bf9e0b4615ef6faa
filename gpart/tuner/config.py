"""The configuration of GPart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from peft import PeftConfig

from gpart.partition.definition import check_definition
from gpart.partition.schemes import SCHEMES, scheme_named
from gpart.partition.scopes import SCOPES
from gpart.tuner import compat
from gpart.tuner.authors import reads_authors_fields
from gpart.tuner.names import check_renamed

#: The authors' names; the last two are the same, since they leave out whatever is not targeted.
_BIAS = ("none", "all", "gpart_only")


@reads_authors_fields
@dataclass
class GPartConfig(PeftConfig):
    """Configures GPart (arXiv 2605.14841): all targeted weights change together in d shared coordinates.

    An adapter_config.json of the authors' code is read too; see `gpart.tuner.authors`.

    Args:
        d: number of trained values, from 1 to the number of targeted weights.
        scheme: how weights are assigned to the d groups: "hash" (nothing stored, the authors' backend `stateless`),
            "iid" (the authors' `materialized`), "balanced" (the paper's; sizes differ by at most one), "block" (ours:
            balanced, in runs of up to 64 weights, computed by copies and sums of whole runs), "signed_magnitude" (the
            authors' ablation: neighbours by sign and size of the base's weights, so that the seed plays no part and a
            checkpoint belongs to one base alone).
        seed: of the assignment; it and the trained values are all that a checkpoint needs.
        isometric: scale each group by 1/sqrt(its size), so that P^T P = I. The paper's definition; False drops it.
        scope: "global", one partition over all targeted weights, or "transformer_block" (the authors' ablation), one
            for each numbered block, over a part of its own of the d values; no module outside may be targeted.
        target_modules: names or endings of the modules to adapt, a regular expression, or "all-linear"; None takes
            PEFT's defaults for the architecture. `nn.Linear`, `nn.Embedding`, `nn.Conv1d`, `nn.Conv2d`, `nn.Conv3d`
            and transformers' `Conv1D` are supported.
        target_parameters: names or endings of parameters to adapt that a module holds itself, such as the stacked
            weights of experts (["experts.gate_up_proj", "experts.down_proj"]); they follow the modules in the
            partition. target_modules=[] adapts these alone.
        exclude_modules: modules to leave out, in the same forms.
        layers_to_transform: numbers of the blocks to adapt; None is all of them.
        layers_pattern: name of the list of blocks, where PEFT, or the scope "transformer_block", does not know it.
        modules_to_save: modules to train and save beside the adapter, such as a classification head.
        trainable_token_indices: tokens whose rows of the embedding train beside the adapter, as with other methods of
            PEFT: numbers, or a mapping of the embedding's name to them.
        init_weights: begin with zeros, that is with the base; False begins with standard normal values, for tests.
        dropout: probability with which an entry of the weight change is dropped in training (authors: 0.1 on GLUE,
            0 on images, 0.05 on math).
        keep_base: keep a copy of the weights while the adapter is merged, so that unmerging restores every bit.
        cache_ids: keep the group of every weight in memory (4 bytes each) or compute it at each use ("hash" only);
            None keeps it on the CPU and computes it on accelerators.
        bias: "none": biases stay as they are; "all" or "gpart_only": those of the targeted modules take part, each
            behind its weight. They do not train beside the vector, as with other methods of PEFT, so that disabling the
            adapter gives the base's outputs.
        partition: read from a checkpoint: what its partition was made of, with its digest. The adapter is refused where
            the partition would come out differently.
        renamed: for a checkpoint whose modules are called otherwise in this model: parts of their names, of one or
            more whole words between dots, each with what it is called here ("" for nothing). One trained on
            AutoModelForCausalLM and loaded on AutoModel takes {"model": ""}. Shapes and order must be the same. It is
            not saved, since what is saved has the names of this model.

    Raises:
        ValueError: naming the argument, its value and what would be accepted.
    """

    #: Whether it was read from an adapter_config.json of the authors' code.
    from_authors: ClassVar[bool] = False
    #: What is saved as `partition`, see `describe`.
    made: ClassVar[Mapping[str, object] | None] = None

    d: int = field(default=1024, metadata={"help": "Number of trained values."})
    scheme: str = field(default="hash", metadata={"help": f"How weights get their groups: {', '.join(SCHEMES)}."})
    seed: int = field(default=0, metadata={"help": "Seed of the assignment."})
    isometric: bool = field(default=True, metadata={"help": "Scale each group by 1/sqrt(its size)."})
    scope: str = field(default="global", metadata={"help": f"Over what a group reaches: {', '.join(SCOPES)}."})
    target_modules: list[str] | set[str] | str | None = field(
        default=None, metadata={"help": "Modules to adapt: names, endings, a regular expression, or 'all-linear'."}
    )
    target_parameters: list[str] | None = field(
        default=None,
        metadata={"help": "Parameters to adapt that modules hold themselves: names or endings."},
    )
    exclude_modules: list[str] | set[str] | str | None = field(
        default=None, metadata={"help": "Modules to leave out, in the same forms."}
    )
    layers_to_transform: list[int] | int | None = field(
        default=None, metadata={"help": "Numbers of the blocks to adapt; needs a list of target_modules."}
    )
    layers_pattern: list[str] | str | None = field(
        default=None, metadata={"help": "Name of the list of blocks, where PEFT does not know it."}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules to train and save beside the adapter."}
    )
    trainable_token_indices: list[int] | dict[str, list[int]] | None = field(
        default=None, metadata={"help": "Tokens whose rows of the embedding train beside the adapter."}
    )
    init_weights: bool = field(default=True, metadata={"help": "Begin with zeros; False: at random, for tests."})
    dropout: float = field(default=0.0, metadata={"help": "Share of the weight change dropped in training."})
    keep_base: bool = field(default=False, metadata={"help": "Keep the weights while merged, to restore every bit."})
    cache_ids: bool | None = field(default=None, metadata={"help": "Keep every weight's group in memory."})
    bias: str = field(default="none", metadata={"help": f"Whether biases take part: {', '.join(_BIAS)}."})
    partition: dict[str, object] | None = field(
        default=None, compare=False, metadata={"help": "What a checkpoint's partition was made of."}
    )

    renamed: dict[str, str] | None = field(
        default=None,
        compare=False,
        metadata={"help": "Parts of names in a checkpoint, with what they are called here."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = compat.peft_type()
        scheme_named(self.scheme)
        check_definition(d=self.d, seed=self.seed, scope=self.scope, scheme=self.scheme, cache_ids=self.cache_ids)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout!r}; accepted are probabilities from 0 to below 1")
        if self.bias not in _BIAS:
            raise ValueError(f"bias: {self.bias!r}; accepted are {', '.join(map(repr, _BIAS))}")
        if isinstance(self.target_parameters, str):
            raise ValueError(f"target_parameters: {self.target_parameters!r}; accepted are None and a list of names")
        check_renamed(self.renamed)
        self._check_layers()
        for name in ("target_modules", "exclude_modules"):
            if isinstance(getattr(self, name), list):
                setattr(self, name, set(getattr(self, name)))

    def describe(self, manifest: Mapping[str, object]) -> None:
        """Save this manifest from now on: that of the model at hand, of several that the configuration serves."""
        self.__dict__["made"] = manifest

    def _check_layers(self) -> None:
        """Refuse a selection of blocks that would have no effect."""
        if isinstance(self.target_modules, str) and self.layers_to_transform is not None:
            raise ValueError(
                f"layers_to_transform: {self.layers_to_transform!r}; accepted with a string target_modules is None"
            )
        if self.layers_pattern and self.layers_to_transform is None and self.scope != "transformer_block":
            raise ValueError(
                f"layers_pattern: {self.layers_pattern!r}; accepted without layers_to_transform or "
                "scope='transformer_block' is None"
            )

    def to_dict(self) -> dict[str, object]:
        """The configuration in types that JSON has."""
        values: dict[str, object] = super().to_dict() | {"partition": self.made or self.partition}
        del values["renamed"]
        return {name: sorted(value) if isinstance(value, set) else value for name, value in values.items()}
