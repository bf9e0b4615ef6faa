"""The tuner: one vector per adapter for all layers, and the partition that gives each its part."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from itertools import count

import torch
from torch import Tensor, nn

from gpart.compute.slices import LayerSlice
from gpart.partition.partition import Partition
from gpart.tuner.base_layers import (
    check_supported,
    leave_fast_path,
    merge_refusal,
    rounding_left,
    warn_of_stacked,
    without_uncalled,
)
from gpart.tuner.building import partition_of
from gpart.tuner.checkpointing import check_reentrant
from gpart.tuner.checkpoints import PartitionedTuner
from gpart.tuner.compat import (
    DEFAULT_TARGETS,
    PREFIX,
    BaseTunerLayer,
    all_linear,
    check_adapter_name,
    onload_layer,
)
from gpart.tuner.config import GPartConfig
from gpart.tuner.layer import GPartLayer, wrapped
from gpart.tuner.parameters import ParamWrapper, check_matched
from gpart.tuner.weighted import check_weighted, weighted_sum

_HALF = (torch.float16, torch.bfloat16)


class GPartModel(PartitionedTuner):
    """GPart (arXiv 2605.14841) around a base model; `peft.get_peft_model` makes it.

    Attributes:
        gpart_theta: the trained vector of each adapter, (d,), zeros at the start; float32, or the base model's type
            where `autocast_adapter_dtype=False` asks for less.
    """

    uses_shared_state = True
    prefix = PREFIX
    tuner_layer_cls = GPartLayer
    target_module_mapping = DEFAULT_TARGETS

    gpart_theta: nn.ParameterDict

    def gpart_layers(self) -> list[GPartLayer]:
        """The adapted layers, of whichever adapters, in the order of the model."""
        return [module for module in self.model.modules() if isinstance(module, GPartLayer)]

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
        self._partitions = {}
        # Partitions of adapters that are about to be added.
        self._given: dict[str, list[Partition]] = {}
        self._found: list[tuple[str, GPartLayer]] = []
        self._awaiting = set()
        self._disabled = False

    def inject_adapter(
        self,
        model: nn.Module,
        adapter_name: str,
        autocast_adapter_dtype: bool = True,
        low_cpu_mem_usage: bool = False,
        state_dict: dict[str, Tensor] | None = None,
    ) -> None:
        """Wrap the targeted modules, partition their weights, and add a vector.

        Raises:
            TypeError: if a targeted module cannot be adapted. The model is left as it was.
            ValueError: if the partition cannot be made, or differs from the one that the configuration was saved
                with. The model is left as it was.
        """
        check_adapter_name(adapter_name)
        config = self.peft_config[adapter_name]
        trainable = {name: theta.requires_grad for name, theta in self.gpart_theta.items()}
        self._found = []
        if (names := all_linear(config, model)) is not None:
            config.target_modules = without_uncalled(names, model)
        try:
            super().inject_adapter(model, adapter_name, autocast_adapter_dtype, low_cpu_mem_usage, state_dict)
            check_matched(config.target_parameters, [name for name, _ in self._found])
            self._attach(config, adapter_name, low_cpu_mem_usage)
            if names is not None:
                warn_of_stacked(self.model, [layer.weight_and_bias()[0] for _, layer in self._found])
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
        if isinstance(target, GPartLayer) and parameter_name in (None, target.parameter_name):
            if parameter_name is None:
                check_supported(target.get_base_layer())
            self._found.append((current_key, target))
            return
        if parameter_name is None:
            layer = wrapped(target, self.gpart_theta)
        else:
            layer = ParamWrapper(target, self.gpart_theta, parameter_name)
        layer.set_adapter(self.active_adapters)
        self._replace_module(parent, target_name, layer, target)
        self._found.append((current_key, layer))

    def _attach(self, config: GPartConfig, adapter_name: str, low_cpu_mem_usage: bool) -> None:
        """Make the partition of the modules found, and give each its part."""
        namesakes = self._given.pop(adapter_name, None) or partition_of(self._found, self.model, config)
        partition, (weight, _) = namesakes[0], self._found[0][1].weight_and_bias()
        holders = Counter(id(weight) for _, weight in self.model.named_parameters(remove_duplicate=False))
        for _, layer in self._found:
            layer.tied = layer.tied or (not layer.quantised and holders[id(layer.weight_and_bias()[0])] > 1)
        leave_fast_path(self.model, [layer for _, layer in self._found])
        if not weight.is_meta:
            # Without weights this is a plan, which may be of a model too large to count here.
            config.describe(partition.manifest)
            _ = partition.group_sizes
        start = torch.zeros if config.init_weights else torch.randn
        theta = start(config.d, dtype=weight.dtype, device="meta" if low_cpu_mem_usage else weight.device)
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
        # Called before every forward and generation. Each layer would take out what is merged by itself.
        if self._disabled and any(layer.merged for layer in self.gpart_layers()):
            self.unmerge_adapter()
        # PEFT takes the argument out before it calls the base, so that it would have no effect.
        if adapter_names is not None:
            raise ValueError(
                f"adapter_names: {adapter_names!r}; accepted is None: all rows of a batch have the active adapters"
            )
        return nullcontext()

    def _check_merge_allowed(self) -> None:
        super()._check_merge_allowed()
        for name, layer in self.named_modules():
            if isinstance(layer, GPartLayer) and layer.quantised and layer.gpart_slices:
                raise ValueError(merge_refusal(layer.get_base_layer(), name.removeprefix("model.")))

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

    def add_weighted_adapter(
        self, adapters: list[str], weights: list[float], adapter_name: str, combination_type: str = "linear"
    ) -> None:
        """Add an adapter that changes every weight by the weighted sum of what others change it by.

        It is exact, since the map is linear; other methods' adapters only come near it. Dropout and other settings are
        those of the first.

        Args:
            adapters: names of adapters with one partition. What is merged is taken out, as by any new adapter.
            weights: of each, any finite numbers.
            adapter_name: of the new adapter, which is neither active nor trained yet.
            combination_type: "linear" alone.

        Raises:
            ValueError: if partitions differ, modules are trained beside a vector, or an argument makes no sense.
        """
        check_adapter_name(adapter_name)
        if adapter_name in self.peft_config:
            raise ValueError(f"adapter_name: {adapter_name!r} exists; accepted is a new name")
        partitions = {name: self.partition(name) for name in self.gpart_theta}
        check_weighted(self, partitions, adapters, weights, combination_type)
        config = copy.copy(self.peft_config[adapters[0]])
        config.from_authors = False
        self.peft_config[adapter_name] = config
        self._given[adapter_name] = self._partitions[adapters[0]]
        self.inject_adapter(self.model, adapter_name)
        self.gpart_theta[adapter_name].data = weighted_sum([self.gpart_theta[name] for name in adapters], weights)

    def set_adapter(self, adapter_name: str | list[str], inference_mode: bool = False) -> None:
        """Choose the active adapters: what is merged is taken out first, of which PEFT's own warns at each layer."""
        if any(layer.merged for layer in self.gpart_layers()):
            warnings.warn("Adapter cannot be set when the model is merged. Unmerging the model first.", stacklevel=2)
            self.unmerge_adapter()
        super().set_adapter(adapter_name, inference_mode)

    def _enable_adapter_layers(self, enabled: bool = True) -> None:
        self._disabled = not enabled
        super()._enable_adapter_layers(enabled)

    def unmerge_adapter(self) -> None:
        """Take the merged adapters out of all layers, with one warning of what rounding leaves."""
        modules = [module for module in self.model.modules() if isinstance(module, BaseTunerLayer) and module.merged]
        if not modules:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
        rounding = 0.0
        for module in modules:
            with onload_layer(module):
                if isinstance(module, GPartLayer):
                    rounding = max(rounding, module.take_out())
                else:
                    module.unmerge()
        if rounding:
            warnings.warn(rounding_left(rounding), stacklevel=2)

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        theta = self.gpart_theta[adapter_name]
        if autocast_adapter_dtype and theta.dtype in _HALF:
            self.gpart_theta[adapter_name] = nn.Parameter(theta.data.float(), requires_grad=theta.requires_grad)
