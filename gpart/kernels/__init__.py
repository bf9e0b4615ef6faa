"""Triton kernels for the schemes `hash` and `block`: W + P theta and P^T g, each in one pass over a layer.

They compute the groups as they go, so that neither groups nor P theta are ever written to memory. The torch path
(`gpart.partition.groups`) is the reference, and the only path on the CPU and where triton is not installed; this module
imports no triton. Kernels give the torch path's bits for W + P theta, and its sums up to float32 rounding for P^T g.

Tested in Triton's interpreter, and compiled for a device that is not there. Untested: speed, and a run on a GPU.
`DEVICES` is the one switch: `gpart.kernels.DEVICES.clear()` before a model is used leaves everything to torch.
"""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from gpart.numerics import underived

#: Types of device on which layers use the kernels.
DEVICES = {"cuda"}

INSTALLED = importlib.util.find_spec("triton") is not None


def chosen(device: torch.device) -> bool:
    """Whether layers on this device use the kernels."""
    return INSTALLED and device.type in DEVICES


def usable(*tensors: Tensor) -> bool:
    """Whether a kernel can stand for torch's operations here: underived tensors, all where kernels run."""
    return all(chosen(t.device) for t in tensors) and underived(*tensors)


def adds(weight: Tensor, value: Tensor) -> bool:
    """Whether a kernel can add `value`, (d,), to `weight`, of any shape: a usable pair, float32 and contiguous."""
    return value.dtype == torch.float32 and weight.is_contiguous() and usable(value, weight)
