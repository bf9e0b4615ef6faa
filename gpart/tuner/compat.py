"""Everything that leans on what PEFT keeps private, so that another release of PEFT is met in one place.

PEFT has no way to register a method from outside: the type must be a member of its enum `PeftType`, which this module
extends before it calls PEFT's own registration.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import (
    BaseTuner,
    BaseTunerLayer,
    _maybe_include_all_linear_layers,
    check_adapters_to_merge,
    onload_layer,
)
from peft.utils import (
    TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
    AuxiliaryTrainingWrapper,
    PeftType,
    register_peft_method,
)
from torch import Tensor, nn

from gpart.tuner.names import unwrapped

__all__ = [
    "DEFAULT_TARGETS",
    "PREFIX",
    "AuxiliaryTrainingWrapper",
    "BaseTuner",
    "BaseTunerLayer",
    "OneVectorTuner",
    "all_linear",
    "check_adapter_name",
    "check_adapters_to_merge",
    "keep_trainable",
    "onload_layer",
    "peft_type",
    "register",
]

#: Every attribute of ours on PEFT's modules starts with it, and PEFT looks for it in names of parameters.
PREFIX = "gpart_"
#: PEFT's query and value projections, by architecture.
DEFAULT_TARGETS: dict[str, list[str]] = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING


def peft_type() -> PeftType:
    """The member GPART of PEFT's enum of methods, made on the first call."""
    members = PeftType.__members__
    if "GPART" in members:
        return members["GPART"]
    member = str.__new__(PeftType, "GPART")
    member._name_ = member._value_ = "GPART"
    member.__objclass__ = PeftType
    member._sort_order_ = len(members)
    PeftType._member_map_["GPART"] = member
    PeftType._member_names_.append("GPART")
    PeftType._value2member_map_["GPART"] = member
    type.__setattr__(PeftType, "GPART", member)
    return member


def register(config: type, model: type) -> None:
    """Make PEFT know the method; doing it again changes nothing.

    Raises:
        ImportError: if PEFT has a method named GPART already.
    """
    member = peft_type()
    known = PEFT_TYPE_TO_CONFIG_MAPPING.get(member)
    if known is config and PEFT_TYPE_TO_TUNER_MAPPING.get(member) is model:
        return
    if known is not None:
        raise ImportError(f"peft: {known.__module__} has already registered a method named GPART")
    register_peft_method(name="gpart", config_cls=config, model_cls=model, prefix=PREFIX)


def check_adapter_name(name: str) -> None:
    """Refuse a name that torch's dictionaries cannot hold, or that PEFT, when loading, takes for part of the prefix.

    Raises:
        ValueError: naming the adapter.
    """
    if name in PREFIX:
        raise ValueError(f"adapter_name: {name!r} is contained in {PREFIX!r}; accepted is any other name")
    if "." in name or hasattr(nn.ParameterDict(), name):
        raise ValueError(
            f"adapter_name: {name!r} cannot be a name in torch's modules, which have such an attribute or divide names "
            "at dots; accepted is any other name"
        )


def all_linear(config: Any, model: nn.Module) -> set[str] | None:
    """The names that PEFT takes "all-linear" for; None where a configuration asks for something else."""
    if not isinstance(config.target_modules, str) or config.target_modules.lower() != "all-linear":
        return None
    names: set[str] = _maybe_include_all_linear_layers(copy.copy(config), model).target_modules
    return names


def keep_trainable(module: nn.Module) -> None:
    """Keep a four-bit layer of bitsandbytes 0.50 from repacking its weight in evaluation on the CPU.

    It does so on processors with bfloat16 products, and passes no gradient to its input from then on, also in training;
    its state dict takes the packing back.
    """
    if getattr(module, "support_avx512bf16_for_cpu", False):
        module.state_dict()
        module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


class OneVectorTuner(BaseTuner):
    """A tuner whose adapters have one vector each for all layers, and whose biases are moved by it, never trained.

    It says how the vector is selected from, and put back into, a model's state dict; a subclass, what a checkpoint
    carries beside it, and what it refuses.
    """

    peft_config: dict[str, PeftConfig]
    vector: str  # name of the attribute with one parameter per adapter

    def before_saving(self, adapter_name: str) -> None:
        """What is to be done before an adapter's weights and configuration are written."""

    def extra_state(self, adapter_name: str) -> dict[str, Tensor]:
        """What is saved with the vector, by the name of the attribute that it looks like."""
        raise NotImplementedError

    def own_state(self, adapter_name: str, state: dict[str, Tensor], root: str) -> dict[str, Tensor]:
        """A copy of a loaded state dict as this method would have saved it, with its own keys behind `root`."""
        raise NotImplementedError

    def check_state(self, adapter_name: str, extra: dict[str, Tensor | None]) -> None:
        """Refuse what does not fit this model, by raising."""
        raise NotImplementedError

    @classmethod
    def _get_adapter_state_dict(
        cls,
        model: nn.Module,
        config: PeftConfig,
        adapter_name: str,
        state_dict: dict[str, Tensor],
        unwanted_adapter_names: Iterable[str],
    ) -> dict[str, Tensor]:
        prefix, tuner, root = _tuner(cls, model)
        tuner.before_saving(adapter_name)
        key = f"{root}{cls.vector}.{adapter_name}"
        extra = {f"{root}{name}.{adapter_name}": value for name, value in tuner.extra_state(adapter_name).items()}
        return {key: state_dict[f"{prefix}{key}"]} | extra

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: PeftConfig, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        prefix, tuner, root = _tuner(cls, model)
        state = tuner.own_state(adapter_name, state_dict, root)
        tuner.check_state(
            adapter_name, {name: state.pop(f"{root}{name}", None) for name in tuner.extra_state(adapter_name)}
        )
        if f"{root}{cls.vector}" not in state:
            raise ValueError(
                f"checkpoint: it holds no {root}{cls.vector}, only {', '.join(sorted(state)) or 'nothing'}"
            )
        value, own = state.pop(f"{root}{cls.vector}"), getattr(tuner, cls.vector)[adapter_name]
        if value.shape != own.shape:
            raise ValueError(f"checkpoint: its vector has shape {tuple(value.shape)}; accepted is {tuple(own.shape)}")
        state[f"{prefix}{root}{cls.vector}.{adapter_name}"] = value
        return state

    def _check_new_adapter_config(self, config: PeftConfig) -> None:
        # PEFT's own allows one adapter with biases, since it trains the base's.
        pass

    def _mark_only_adapters_as_trainable(self, model: nn.Module) -> None:
        # PEFT's own makes the base's biases trainable where a configuration names them.
        configs = self.peft_config
        self.peft_config = {name: copy.copy(config) for name, config in configs.items()}
        for config in self.peft_config.values():
            config.bias = "none"
        super()._mark_only_adapters_as_trainable(model)
        self.peft_config = configs

    def disable_adapter_layers(self) -> None:
        """Use the base as it is. PEFT's own warns of biases that were trained."""
        self._enable_adapter_layers(enabled=False)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        # PEFT's own also moves adapter parameters, of which our layers hold none, to the device of child.weight, and
        # so fails on restoring a head that has no weight of its own (huggingface/peft#3114).
        setattr(parent, child_name, new_module)


def _tuner(cls: type[OneVectorTuner], model: nn.Module) -> tuple[str, OneVectorTuner, str]:
    """The tuner in a `PeftModel`, or the tuner itself.

    Returns:
        what a wrapper around the model puts before all names; the tuner; the prefix of its own keys behind that.
    """
    prefix, model = unwrapped(model)
    if isinstance(model, OneVectorTuner):
        return prefix, model, ""
    tuner = getattr(model, "base_model", None)
    if not isinstance(tuner, OneVectorTuner):
        raise TypeError(f"model: a {type(model).__name__} holds no {cls.__name__}; accepted is a PeftModel that does")
    return prefix, tuner, "base_model."
