"""Triton kernels for the schemes `hash` and `block`: W + P theta and P^T g, each in one pass over a layer.

They compute the groups as they go, so that neither groups nor P theta are ever written to memory. The torch path is the
reference, and the only path on the CPU and where triton is not installed; this module imports no triton. Kernels give
the torch path's bits for W + P theta, and its sums up to float32 rounding for P^T g.

Tested in Triton's interpreter, and compiled for a device that is not there. Untested: speed, and a run on a GPU.
`DEVICES` is the one switch: `gpart.kernels.DEVICES.clear()` before a model is used leaves everything to torch.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import forward_ad

if TYPE_CHECKING:
    from gpart.functional import Groups

#: Types of device on which layers use the kernels.
DEVICES = {"cuda"}

INSTALLED = importlib.util.find_spec("triton") is not None

_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def chosen(device: torch.device) -> bool:
    """Whether layers on this device use the kernels."""
    return INSTALLED and device.type in DEVICES


def underived(*tensors: Tensor) -> bool:
    """Whether these are plain tensors with nothing to derive what is made of them, so that any operation will do.

    torch.compile, transforms of torch.func, forward-mode differentiation and double backward need operations that torch
    can derive.
    """
    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    derived = forward_ad._current_level >= 0 or (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))
    return not derived and all(_plain(t) for t in tensors)


def usable(*tensors: Tensor) -> bool:
    """Whether a kernel can stand for torch's operations here: underived tensors, all where kernels run."""
    return all(chosen(t.device) for t in tensors) and underived(*tensors)


def _plain(tensor: Tensor) -> bool:
    """Whether the tensor is one of memory: no subclass's, and no transform's, as torch.autograd's batches are."""
    return type(tensor) in (Tensor, torch.nn.Parameter) and torch._C._has_storage(tensor) and tensor.dtype in _DTYPES


def added(weight: Tensor, value: Tensor, groups: Groups) -> Tensor | None:
    """The weight plus `value` (d,) at each position's group, in one pass; None where this is left to torch."""
    if not (value.dtype == torch.float32 and weight.is_contiguous() and usable(value, weight)):
        return None
    from gpart.kernels import groups as fused

    return fused.added(weight, value, groups)
