"""Which modules can be adapted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: The supported layers, with the forward that each must have.
_SUPPORTED: dict[type[nn.Module], Callable[..., Any]] = {
    kind: kind.forward for kind in (nn.Linear, Conv1D, nn.Embedding, nn.Conv2d)
}


def check_supported(module: nn.Module) -> None:
    """Refuse a module whose output is not a plain product with its weight.

    Raises:
        TypeError: naming the module and what is supported, in PEFT's words.
    """
    refused = f"Target module {module} is not supported"
    if not any(isinstance(module, kind) and type(module).forward is forward for kind, forward in _SUPPORTED.items()):
        raise TypeError(
            f"{refused}. Currently, only the following modules are supported: `torch.nn.Linear`, "
            "`torch.nn.Embedding`, `torch.nn.Conv2d`, `transformers.pytorch_utils.Conv1D`."
        )
    if module.weight.dtype not in _DTYPES:
        raise TypeError(f"{refused}: its weight is {module.weight.dtype}; accepted are {', '.join(map(str, _DTYPES))}")
    if isinstance(module, nn.Embedding):
        if module.sparse:
            raise TypeError(f"{refused}: sparse: True; accepted is False")
        if module.max_norm is not None:
            raise TypeError(f"{refused}: max_norm: {module.max_norm}, which changes the weight; accepted is None")
