"""What an adapter's checkpoint carries beside its vector, and whether it belongs to a model."""

from __future__ import annotations

import json
import warnings

import torch
from peft import PeftConfig
from torch import Tensor

from gpart.partition.partition import Partition
from gpart.tuner.authors import renamed
from gpart.tuner.compat import AuxiliaryTrainingWrapper, OneVectorTuner
from gpart.tuner.config import GPartConfig
from gpart.tuner.matching import check_matches
from gpart.tuner.names import Translation, is_wrapped


class PartitionedTuner(OneVectorTuner):
    """A tuner whose adapters have a partition each, of which their checkpoints hold a description."""

    vector = "gpart_theta"

    #: Of each adapter its partition, first under the names of this model, then under those of its checkpoint.
    _partitions: dict[str, list[Partition]]
    #: Adapters of the authors' configurations, whose vectors have not been loaded yet.
    _awaiting: set[str]

    def partition(self, adapter_name: str = "default") -> Partition:
        """The partition of an adapter."""
        return self._partitions[adapter_name][0]

    def know_names(self, adapter_name: str, config: PeftConfig) -> None:
        """Let an adapter be known by the names in the manifest of a checkpoint too, if its layers are the same."""
        own: GPartConfig = self.peft_config[adapter_name]
        translation = Translation(self.model, getattr(config, "renamed", None) or own.renamed, own.layers_pattern)
        known = self._partitions[adapter_name]
        stored = translation.as_stored(known[0], getattr(config, "partition", None))
        known += [partition for partition in stored if partition.layers not in [one.layers for one in known]]

    def before_saving(self, adapter_name: str) -> None:
        """Let the configuration, which the caller may have used for another model since, describe this one.

        A module that is trained beside the adapter is saved by the name that it has in the model, wrappers included.
        """
        for name, module in self.named_modules():
            if isinstance(module, AuxiliaryTrainingWrapper) and is_wrapped(name):
                warnings.warn(
                    f"checkpoint: its trained module {name} loads onto a base wrapped alike; for any other, wrap the "
                    "PeftModel in place of the base",
                    stacklevel=2,
                )
        self.peft_config[adapter_name].describe(self.partition(adapter_name).manifest)

    def extra_state(self, adapter_name: str) -> dict[str, Tensor]:
        """The partition's stamp as bytes of JSON, so that the file of weights says by itself what it belongs to."""
        stamp = json.dumps(self.partition(adapter_name).stamp, separators=(",", ":"))
        return {"gpart_partition": torch.tensor(list(stamp.encode()), dtype=torch.uint8)}

    def own_state(self, adapter_name: str, state: dict[str, Tensor], root: str) -> dict[str, Tensor]:
        """A loaded state dict in our names. The authors' vector is of the partition that its configuration led to.

        Raises:
            ValueError: if it is the authors' and the configuration is not.
        """
        own = renamed(state, root, self.vector, expected=adapter_name in self._awaiting)
        if adapter_name in self._awaiting:
            self._awaiting.remove(adapter_name)
            own |= {f"{root}{name}": value for name, value in self.extra_state(adapter_name).items()}
        return own

    def check_state(self, adapter_name: str, extra: dict[str, Tensor | None]) -> None:
        """Refuse weights of another partition.

        Raises:
            ValueError: saying what differs.
        """
        stored = extra["gpart_partition"]
        if stored is None:
            raise ValueError(
                "checkpoint: it holds no gpart_partition, which says to what its vector belongs; accepted are "
                "checkpoints saved with gpart imported, and tensors through gpart.hotswap_adapter"
            )
        raw = bytes(stored.tolist())
        try:
            stamp = json.loads(raw)
        except ValueError:
            stamp = None
        if not isinstance(stamp, dict):
            raise ValueError(f"checkpoint: its gpart_partition is damaged: {raw[:80]!r} is no JSON object")
        check_matches(stamp, self._partitions[adapter_name], self.peft_config[adapter_name])
