"""The tuner: one vector per adapter for all layers, and the partition that gives each its part."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from itertools import count

import torch
from peft import PeftConfig
from torch import Tensor, nn

from gpart.compute.slices import LayerSlice
from gpart.partition.definition import AdaptedLayer
from gpart.partition.partition import Partition
from gpart.partition.schemes import scheme_named
from gpart.partition.scopes import transformer_block
from gpart.tuner.authors import renamed
from gpart.tuner.base_layers import check_supported, storage_name
from gpart.tuner.checkpointing import check_reentrant
from gpart.tuner.compat import (
    DEFAULT_TARGETS,
    PREFIX,
    AuxiliaryTrainingWrapper,
    OneVectorTuner,
    check_adapter_name,
)
from gpart.tuner.config import GPartConfig
from gpart.tuner.layer import GPartLayer, wrapped
from gpart.tuner.matching import check_matches
from gpart.tuner.names import Translation, is_wrapped, plain_name

_HALF = (torch.float16, torch.bfloat16)


class GPartModel(OneVectorTuner):
    """GPart (arXiv 2605.14841) around a base model; `peft.get_peft_model` makes it.

    Attributes:
        gpart_theta: the trained vector of each adapter, (d,), zeros at the start; float32, or the base model's type
            where `autocast_adapter_dtype=False` asks for less.
    """

    uses_shared_state = True
    prefix = PREFIX
    tuner_layer_cls = GPartLayer
    target_module_mapping = DEFAULT_TARGETS
    vector = "gpart_theta"

    gpart_theta: nn.ParameterDict

    def partition(self, adapter_name: str = "default") -> Partition:
        """The partition of an adapter."""
        return self._partitions[adapter_name][0]

    def layers(self) -> list[GPartLayer]:
        """The adapted layers, of whichever adapters, in the order of the model."""
        return [module for module in self.model.modules() if isinstance(module, GPartLayer)]

    def know_names(self, adapter_name: str, config: PeftConfig) -> None:
        """Let an adapter be known by the names in the manifest of a checkpoint too, if its layers are the same."""
        own: GPartConfig = self.peft_config[adapter_name]
        translation = Translation(self.model, getattr(config, "renamed", None) or own.renamed, own.layers_pattern)
        known = self._partitions[adapter_name]
        stored = translation.as_stored(known[0], getattr(config, "partition", None))
        known += [partition for partition in stored if partition.layers not in [one.layers for one in known]]

    def forward(self, *args: object, **kwargs: object) -> object:
        """The base model's forward.

        Raises:
            ValueError: if its gradients would be wrong, see `check_reentrant`.
        """
        if not torch.compiler.is_compiling():
            check_reentrant(self.model)
        return super().forward(*args, **kwargs)

    def _pre_injection_hook(self, model: nn.Module, config: GPartConfig, adapter_name: str) -> None:
        self.gpart_theta = nn.ParameterDict()
        # Of each adapter its partition, first under the names of this model, then under those of its checkpoint.
        self._partitions: dict[str, list[Partition]] = {}
        self._found: list[tuple[str, GPartLayer]] = []
        # Adapters of the authors' configurations, whose vectors have not been loaded yet.
        self._awaiting: set[str] = set()

    def inject_adapter(
        self,
        model: nn.Module,
        adapter_name: str,
        autocast_adapter_dtype: bool = True,
        low_cpu_mem_usage: bool = False,
        state_dict: dict[str, Tensor] | None = None,
    ) -> None:
        """Wrap the targeted modules, partition their weights, and add a vector of zeros.

        Raises:
            ValueError: if the partition cannot be made, or differs from the one that the configuration was saved
                with. The model is left as it was.
        """
        check_adapter_name(adapter_name)
        config = self.peft_config[adapter_name]
        trainable = {name: theta.requires_grad for name, theta in self.gpart_theta.items()}
        self._found = []
        super().inject_adapter(model, adapter_name, autocast_adapter_dtype, low_cpu_mem_usage, state_dict)
        try:
            self._attach(config, adapter_name, low_cpu_mem_usage)
        except Exception:
            self._withdraw(adapter_name)
            raise
        for name, requires_grad in trainable.items():
            self.gpart_theta[name].requires_grad_(requires_grad)

    def _create_and_replace(
        self,
        peft_config: GPartConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if isinstance(target, GPartLayer):
            self._found.append((current_key, target))
            return
        check_supported(target)
        layer = wrapped(target, self.gpart_theta)
        layer.set_adapter(self.active_adapters)
        self._replace_module(parent, target_name, layer, target)
        self._found.append((current_key, layer))

    def _attach(self, config: GPartConfig, adapter_name: str, low_cpu_mem_usage: bool) -> None:
        """Make the partition of the modules found, and give each its part."""
        pairs = [layer.weight_and_bias() for _, layer in self._found]
        if config.bias == "none":
            pairs = [(weight, None) for weight, _ in pairs]
        weight, reads_weights = pairs[0][0], scheme_named(config.scheme).of_weights is not None
        if reads_weights:
            self._check_readable(config.scheme)
        planned = weight.is_meta
        raw = [name for name, _ in self._found]
        names = [plain_name(self.model, name) for name in raw]
        partition = Partition(
            scheme=config.scheme,
            d=config.d,
            seed=config.seed,
            layers=[
                AdaptedLayer(name, tuple(weight.shape), 0 if bias is None else bias.numel())
                for name, (weight, bias) in zip(names, pairs, strict=True)
            ],
            isometric=config.isometric,
            scope=config.scope,
            blocks=self._blocks(config, names),
            weights=[tensor for pair in pairs for tensor in pair if tensor is not None] if reads_weights else None,
            cache_ids=config.cache_ids,
            device="cpu" if planned else weight.device,
        )
        translation = Translation(self.model, config.renamed, config.layers_pattern)
        namesakes = [
            partition,
            *translation.under(partition, raw),
            *translation.as_stored(partition, config.partition),
        ]
        check_matches(config.partition, namesakes, config)
        holders = Counter(id(weight) for _, weight in self.model.named_parameters(remove_duplicate=False))
        for _, layer in self._found:
            layer.tied = layer.tied or (not layer.quantised and holders[id(layer.weight_and_bias()[0])] > 1)
        if not planned:
            # Without weights this is a plan, which may be of a model too large to count here.
            config.describe(partition.manifest)
            _ = partition.group_sizes
        theta = torch.zeros(config.d, dtype=weight.dtype, device="meta" if low_cpu_mem_usage else weight.device)
        active = adapter_name in self.active_adapters and not config.inference_mode
        self.gpart_theta[adapter_name] = nn.Parameter(theta, requires_grad=active)
        self._partitions[adapter_name] = namesakes
        if config.from_authors:
            self._awaiting.add(adapter_name)
        self._give_parts(config, adapter_name)

    def _give_parts(self, config: GPartConfig, adapter_name: str) -> None:
        """Give each layer the part of the adapter that falls on it."""
        partition, numbers = self.partition(adapter_name), count()
        for adapted, (_, layer) in zip(partition.layers, self._found, strict=True):
            number = next(numbers)
            layer.gpart_slices[adapter_name] = LayerSlice(partition, number, config.dropout, config.keep_base)
            if adapted.bias:
                # The authors' dropout falls on the change of the weight alone.
                layer.gpart_bias_slices[adapter_name] = LayerSlice(partition, next(numbers), 0.0, config.keep_base)

    def _enable_peft_forward_hooks(
        self, *args: object, adapter_names: object = None, **kwargs: object
    ) -> AbstractContextManager[None]:
        # PEFT takes the argument out before it calls the base, so that it would have no effect.
        if adapter_names is not None:
            raise ValueError(
                f"adapter_names: {adapter_names!r}; accepted is None: all rows of a batch have the active adapters"
            )
        return nullcontext()

    def _check_readable(self, scheme: str) -> None:
        for name, layer in self._found:
            if layer.quantised:
                kind = storage_name(layer.get_base_layer())
                raise ValueError(
                    f"scheme: {scheme!r} sorts the base's weights, and {name} is quantised ({kind}); accepted here are "
                    "the other schemes"
                )

    def _check_merge_allowed(self) -> None:
        super()._check_merge_allowed()
        for name, layer in self.named_modules():
            if isinstance(layer, GPartLayer) and layer.quantised and layer.gpart_slices:
                raise ValueError(layer.refusal(name.removeprefix("model.")))

    @staticmethod
    def _blocks(config: GPartConfig, names: list[str]) -> list[str] | None:
        """The transformer block of each module, where the scope asks for it."""
        if config.scope != "transformer_block":
            return None
        return [transformer_block(name, config.layers_pattern) for name in names]

    def _withdraw(self, adapter_name: str) -> None:
        """Undo an injection that failed."""
        if len(self.peft_config) > 1:
            self.delete_adapter(adapter_name)
        else:
            self.unload()

    def delete_adapter(self, adapter_name: str) -> None:
        """Delete an adapter, its vector and its partition."""
        super().delete_adapter(adapter_name)
        if adapter_name in self.gpart_theta:
            del self.gpart_theta[adapter_name]
        self._partitions.pop(adapter_name, None)
        self._awaiting.discard(adapter_name)

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        theta = self.gpart_theta[adapter_name]
        if autocast_adapter_dtype and theta.dtype in _HALF:
            self.gpart_theta[adapter_name] = nn.Parameter(theta.data.float(), requires_grad=theta.requires_grad)

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
