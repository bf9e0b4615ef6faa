"""Any method of PEFT: adapter modules injected into the backbone, the head trained through modules_to_save."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import (
    AdaLoraConfig,
    NoMatchingPeftModuleError,
    PeftConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
)
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper
from torch import nn
from transformers.pytorch_utils import Conv1D
from typing_extensions import override

from baselines.adapted import Adapted, NamedParameters, count, head_modules, within
from baselines.checkpoint import check_fits, check_whole
from baselines.errors import MethodError
from baselines.hooks import ADAPTER, hooks_of
from baselines.options import refusal, told

WEIGHTS = "adapter_model.safetensors"
#: How PEFT prefixes the backbone's own names.
PREFIX = "base_model.model."


class InjectedAdapter(Adapted):
    """A backbone wrapped in a `PeftModel` with one adapter."""

    model: PeftModel
    config: PeftConfig

    @classmethod
    def inject(
        cls,
        model: nn.Module,
        config: PeftConfig,
        *,
        head: Sequence[str],
        init_seed: int,
    ) -> InjectedAdapter:
        """Wrap `model`, in place, with a new adapter whose random initial values come from `init_seed` alone.

        Raises:
            ValueError: if the targets or the head match nothing, or more than they say.
        """
        if config.is_prompt_learning:
            raise MethodError(
                f"method.config._target_=peft.{type(config).__name__}: adds tokens to the input; "
                "accepted: the methods of PEFT that adapt weights"
            )
        modules = head_modules(model, head)
        own = copy.deepcopy(config)
        own.modules_to_save = modules or None
        on_meta = any(parameter.is_meta for parameter in model.parameters())
        try:
            with _own_generator(init_seed):
                wrapped = get_peft_model(model, own, ADAPTER, low_cpu_mem_usage=on_meta)
        except NoMatchingPeftModuleError as error:
            raise MethodError(_no_match(model, config.target_modules, modules)) from error
        except (ValueError, NotImplementedError, TypeError) as error:
            if not _is_refusal(error):
                raise
            raise MethodError(refusal(vars(config), error)) from error
        adapted = cls(wrapped, config, modules)
        adapted._check_targets()
        adapted._check_head()
        return adapted

    def _check_targets(self) -> None:
        """Refuse a list of targets of which one matches nothing; PEFT complains only if none matches."""
        targets = self.model.peft_config[ADAPTER].target_modules
        if targets is None or isinstance(targets, str):
            return
        names = self.model.base_model.targeted_module_names
        unmatched = sorted(t for t in targets if not any(f".{name}".endswith(f".{t}") for name in names))
        if unmatched:
            raise MethodError(_no_match(self.model.base_model.model, unmatched, self.head))

    def _check_head(self) -> None:
        wrapped = sorted(name.removeprefix(PREFIX) for name, _ in self._head_wrappers())
        if wrapped != sorted(self.head):
            raise MethodError(
                f"backbone.head=[{', '.join(self.head)}]: is not what PEFT trains, which matches names by their "
                f"ending; accepted: all of {', '.join(wrapped)}, or another name for the module of the backbone"
            )

    def _head_wrappers(self) -> Iterator[tuple[str, ModulesToSaveWrapper]]:
        for name, module in self.model.named_modules():
            if isinstance(module, ModulesToSaveWrapper):
                yield name, module

    def _layers(self) -> list[BaseTunerLayer]:
        return [module for module in self.model.modules() if isinstance(module, BaseTunerLayer)]

    @property
    @override
    def name(self) -> str:
        return str(self.config.peft_type.value).lower()

    @override
    def head_parameters(self) -> NamedParameters:
        copies = {id(p) for _, wrapper in self._head_wrappers() for p in wrapper.modules_to_save.parameters()}
        return [(name, p) for name, p in self.model.named_parameters() if id(p) in copies]

    @property
    def adapted_weights(self) -> int:
        """Entries of the targets' weights, of biases that take part with them, and of what trains itself."""
        weights = [parameter for name, parameter in self.merged_weights() if not name.endswith(".bias")]
        biases = [parameter for name, parameter in self.adapter_parameters() if name.endswith(".bias")]
        return count(weights + biases) + hooks_of(self.config).adapted_biases(self.model)

    @property
    def total(self) -> int:
        """Number of parameters, without the untrained copy of the head that PEFT keeps."""
        kept = {id(p) for _, wrapper in self._head_wrappers() for p in wrapper.original_module.parameters()}
        return count(parameter for parameter in self.model.parameters() if id(parameter) not in kept)

    @property
    def runtime_state_bytes(self) -> int:
        """Bytes of the buffers inside the adapter's modules, and of what the method caches outside of buffers."""
        layers = self._layers()
        base = {id(buffer) for layer in layers for buffer in layer.get_base_layer().buffers()}
        added = {id(buffer): buffer for layer in layers for buffer in layer.buffers() if id(buffer) not in base}
        tuner = self.model.base_model
        backbone = {id(buffer) for buffer in tuner.model.buffers()}
        added |= {id(buffer): buffer for buffer in tuner.buffers() if id(buffer) not in backbone}
        return sum(b.numel() * b.element_size() for b in added.values()) + hooks_of(self.config).cached_bytes(
            self.model
        )

    @property
    @override
    def dead_coordinates(self) -> int:
        return hooks_of(self.config).dead_coordinates(self.model)

    @override
    def weights_file(self, folder: Path) -> Path:
        return folder / WEIGHTS

    def _outside_head(self, key: str) -> bool:
        return not within(key.removeprefix(PREFIX), self.head)

    def save(self, folder: Path) -> None:
        """Write PEFT's own files. Embeddings are frozen, so PEFT is not left to ask the hub about them."""
        self.model.save_pretrained(str(folder), save_embedding_layers=False)

    @override
    def reload(self, fresh_model: nn.Module, folder: Path) -> InjectedAdapter:
        file = self.weights_file(folder)
        check_whole(file)
        stored, own = PeftConfig.from_pretrained(str(folder)), self.model.peft_config[ADAPTER]
        if stored.peft_type != own.peft_type:
            raise ValueError(f"checkpoint: {folder} holds a {stored.peft_type.value}, not a {own.peft_type.value}")
        try:
            with _own_generator(0):  # PEFT initialises before it loads; the caller's random stream must not notice
                model = PeftModel.from_pretrained(fresh_model, str(folder), ADAPTER, is_trainable=True)
        except RuntimeError as error:
            raise ValueError(
                f"checkpoint: {file} does not fit this backbone: {' '.join(str(error).split())}"
            ) from error
        # PEFT only warns of tensors that it did not find in the file.
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        check_fits(file, {name: tuple(tensor.shape) for name, tensor in state.items()})
        return type(self)(model, self.config, self.head)

    @override
    def own_step(self, steps: int) -> Callable[[int], None] | None:
        """Of AdaLoRA and AdaMSS: weigh the ranks and mask those over the budget.

        AdaLoRA's schedule is as long as the training, whatever its configuration says: PEFT demands `total_step` there,
        where nobody can know it.
        """
        own = self.model.peft_config[ADAPTER]
        if isinstance(own, AdaLoraConfig):
            if own.tinit + own.tfinal >= steps:
                raise MethodError(
                    f"method.config.tinit={own.tinit}, method.config.tfinal={own.tfinal}: training takes {steps} "
                    "steps; accepted: a sum below that"
                )
            own.total_step = steps
        return self._allocate

    @property
    def _allocate(self) -> Callable[[int], None] | None:
        return getattr(self.model.base_model, "update_and_allocate", None)

    @property
    def can_resume(self) -> bool:
        """Whether the method has no steps of its own, or those that are known to learn nothing unknown."""
        return self._allocate is None or hooks_of(self.config).learnt is not None

    def _learnt(self) -> dict[str, tuple[object, str]]:
        """Owner and name of each attribute that the method's own steps set, by a name that is its alone."""
        learnt = hooks_of(self.config).learnt
        owners = learnt(self.model) if learnt else []
        return {f"{number}.{name}": (owner, name) for number, (owner, names) in enumerate(owners) for name in names}

    @override
    def get_extra_state(self) -> dict[str, Any]:
        return {key: getattr(owner, name) for key, (owner, name) in self._learnt().items()}

    @override
    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        for key, (owner, name) in self._learnt().items():
            setattr(owner, name, state[key])

    @override
    def merged_weights(self) -> NamedParameters:
        return [
            (f"{name}.{part}", parameter)
            for name, layer in self.model.named_modules()
            if isinstance(layer, BaseTunerLayer)
            for part, parameter in layer.get_base_layer().named_parameters()
        ]

    @property
    def can_merge(self) -> bool:  # type: ignore[override]
        """Whether every adapter layer of the method has a merge of its own."""
        layers = self._layers()
        return bool(layers) and all(type(layer).merge is not BaseTunerLayer.merge for layer in layers)

    @override
    def merge(self) -> None:
        self.model.merge_adapter()

    @override
    def unmerge(self) -> None:
        self.model.unmerge_adapter()

    def merged_model(self) -> nn.Module:
        """A plain copy of the backbone with the change in its weights and the trained head in place.

        PEFT's own merge_and_unload moves each restored module to the device of its `.weight`, and so fails on a
        head that has none (UniLoRA, VeRA and IA3 on RoBERTa). What is restored is on its device already.
        """
        tuner = copy.deepcopy(self.model).base_model
        tuner._replace_module = lambda parent, name, new, old: setattr(parent, name, new)
        already = any(layer.merged for layer in self._layers())
        merged: nn.Module = tuner.unload() if already else tuner.merge_and_unload()
        return merged


def _is_refusal(error: Exception) -> bool:
    """Whether PEFT says on purpose that it cannot do what a configuration asks; anything else is no refusal.

    PyTorch raises NotImplementedError as well, of what it cannot do on the meta device.
    """
    if isinstance(error, TypeError):
        return "is not supported" in str(error)
    return isinstance(error, ValueError) or "meta" not in str(error)


@contextmanager
def _own_generator(seed: int) -> Iterator[None]:
    """Seed the CPU generator, on which PEFT draws initial values, and give it back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _no_match(model: nn.Module, targets: object, head: Sequence[str]) -> str:
    kinds = (nn.Linear, Conv1D, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, BaseTunerLayer)
    names = sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, kinds)
            and not within(name, head)
            and ".base_layer" not in name
            and not name.endswith(f".{ADAPTER}")
        }
    )
    return (
        f"{told('target_modules', targets)}: matches no module of {type(model).__name__} that can be adapted and is "
        f"not left out by other options; accepted: names among {', '.join(names)}"
    )
