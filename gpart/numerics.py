"""In which type is summed, and when an operation of torch may be replaced by a faster one that it cannot derive."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which weight and change are added: at least float32."""
    return torch.promote_types(torch.float32, dtype)


def underived(*tensors: Tensor) -> bool:
    """Whether these are plain tensors with nothing to derive what is made of them, so that any operation will do.

    torch.compile, transforms of torch.func, forward-mode differentiation and double backward need operations that torch
    can derive.
    """
    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    derived = forward_ad._current_level >= 0 or (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))
    return not derived and all(_plain(t) for t in tensors)


def _plain(tensor: Tensor) -> bool:
    """Whether the tensor is one of memory: no subclass's, and no transform's, as torch.autograd's batches are."""
    return type(tensor) in (Tensor, torch.nn.Parameter) and torch._C._has_storage(tensor) and tensor.dtype in _DTYPES
