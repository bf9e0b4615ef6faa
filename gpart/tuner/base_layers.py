"""Which modules can be adapted."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers.pytorch_utils import Conv1D

from gpart.tuner.compat import BaseTunerLayer

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: What can be adapted, quantised dense layers of other classes apart.
BaseLayer: TypeAlias = nn.Linear | Conv1D | nn.Embedding | nn.Conv1d | nn.Conv2d | nn.Conv3d


def is_quantised(module: nn.Module) -> bool:
    """Whether a module is a dense layer whose weight is stored quantised, so that it cannot be read as it is.

    Such has `in_features` and `out_features`, and either a `weight` of a type with a `dequantize` of its own (torchao,
    quanto), or, beside a forward of its own, tensors of whole numbers or eight-bit floats and no floating `weight`.
    """
    if not all(type(getattr(module, name, None)) is int for name in ("in_features", "out_features")):
        return False
    weight = getattr(module, "weight", None)
    if _has_own_type(weight):
        return True
    if isinstance(module, BaseTunerLayer) or type(module).forward is nn.Linear.forward:
        return False
    held = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    readable = isinstance(weight, Tensor) and weight.dtype in _DTYPES
    return not readable and any(tensor.dtype not in _DTYPES for tensor in held)


def _has_own_type(weight: object) -> bool:
    return isinstance(weight, Tensor) and type(weight).dequantize is not Tensor.dequantize


def storage_name(module: nn.Module) -> str:
    """The type by which a layer is quantised: of its weight, where that is a tensor of its own kind, else of itself."""
    weight = getattr(module, "weight", None)
    kind = type(weight) if _has_own_type(weight) else type(module)
    return f"{kind.__module__}.{kind.__qualname__}"


def merge_refusal(module: nn.Module, name: str = "the layer") -> str:
    """Why a quantised layer is not merged."""
    return (
        f"merge: {name} is quantised ({storage_name(module)}), and quantising it again would drop changes smaller "
        "than a step; accepted is to load the adapter on the model that is not quantised, and to merge there"
    )


def rounding_left(rounding: float) -> str:
    """What unmerging warns of where it leaves weights at most so far from what they were."""
    return (
        f"Unmerging by subtraction left weights up to {rounding:.0e} off their values before merging; keep_base=True "
        "restores them exactly"
    )


def check_supported(module: nn.Module) -> None:
    """Refuse a module whose output is not a plain product with its weight, unless it is quantised.

    Raises:
        TypeError: naming the module and what is supported, in PEFT's words.
    """
    if is_quantised(module):
        return
    refused = f"Target module {module} is not supported"
    if isinstance(module, NonDynamicallyQuantizableLinear):
        raise TypeError(
            f"{refused}: nn.MultiheadAttention reads its weight without calling it; accepted are called modules"
        )
    if not any(isinstance(module, kind) and type(module).forward is kind.forward for kind in get_args(BaseLayer)):
        raise TypeError(
            f"{refused}. Currently, only the following modules are supported: `torch.nn.Linear`, "
            "`torch.nn.Embedding`, `torch.nn.Conv1d`, `torch.nn.Conv2d`, `torch.nn.Conv3d`, "
            "`transformers.pytorch_utils.Conv1D`, and quantised dense layers."
        )
    if module.weight.dtype not in _DTYPES:
        raise TypeError(f"{refused}: its weight is {module.weight.dtype}; accepted are {', '.join(map(str, _DTYPES))}")
    if isinstance(module, nn.Embedding):
        if module.sparse:
            raise TypeError(f"{refused}: sparse: True; accepted is False")
        if module.max_norm is not None:
            raise TypeError(f"{refused}: max_norm: {module.max_norm}, which changes the weight; accepted is None")


def check_parameter(module: nn.Module, name: str) -> None:
    """Refuse a parameter that is not floating, or whose module is never called.

    Raises:
        TypeError: naming the parameter and what is accepted.
    """
    refused = f"Target parameter {name} of {type(module).__name__} is not supported"
    value = getattr(module, name)
    if type(module).forward is nn.Module.forward or isinstance(module, NonDynamicallyQuantizableLinear):
        raise TypeError(f"{refused}: its module is never called; accepted are parameters of modules that are")
    if not isinstance(value, Tensor) or _has_own_type(value) or value.dtype not in _DTYPES:
        kind = value.dtype if isinstance(value, Tensor) and not _has_own_type(value) else type(value).__name__
        raise TypeError(f"{refused}: it is {kind}; accepted are {', '.join(map(str, _DTYPES))}")


def warn_of_stacked(model: nn.Module, adapted: Collection[Tensor]) -> None:
    """Warn where "all-linear" leaves most weights as they are: stacked ones of experts, which are no layers.

    Args:
        model: the base.
        adapted: the weights that are adapted.
    """
    known, left = {id(weight) for weight in adapted}, {}
    for module_name, module in model.named_modules():
        if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            for name, value in module.named_parameters(recurse=False):
                if value.dim() > 2 and id(value) not in known:
                    left[f"{module_name}.{name}"] = value.numel()
    total = sum(weight.numel() for weight in adapted)
    if sum(left.values()) > total:
        warnings.warn(
            f"target_modules: 'all-linear' adapts {total} weights and leaves {sum(left.values())} that are no layers, "
            f"such as {next(iter(left))}; target_parameters adapts these too",
            stacklevel=2,
        )


def without_uncalled(names: set[str], model: nn.Module) -> set[str]:
    """What "all-linear" found, but for what `nn.MultiheadAttention` never calls, of which it warns."""
    uncalled = {name for name in names if isinstance(model.get_submodule(name), NonDynamicallyQuantizableLinear)}
    if uncalled:
        warnings.warn(
            f"target_modules: 'all-linear' leaves out {', '.join(sorted(uncalled))}: nn.MultiheadAttention reads their "
            "weights without calling them",
            stacklevel=2,
        )
    return names - uncalled


def leave_fast_path(model: nn.Module, adapted: Collection[nn.Module]) -> None:
    """Let torch's transformer encoders call their layers in evaluation, where any of these is adapted.

    Their fast path reads weights without calling the layers that have them, and so would compute with the base's.
    """
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerEncoder):
            if not any(inner in adapted for inner in module.modules()):
                continue
            if isinstance(module, nn.TransformerEncoder):
                module.use_nested_tensor = False
            else:
                module.activation_relu_or_gelu = 0
