"""Which entries of a change dropout leaves: a mask that backward makes again from a seed, in place of keeping it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

#: Seeds are below it.
_SEEDS = 1 << 62
#: What takes random operations to task under the batches of torch.func and of torch.autograd.
_BATCHES = ("FuncTorchVmapMode", "VmapMode")


def draw_mask_seed(dropout: float, like: Tensor) -> Tensor:
    """Draw the seed of a mask from torch's generator: () int64 on the CPU.

    Where `torch.func.vmap` asks for different randomness, and so for a seed for each example, it is the mask itself,
    shaped like `like`.

    Args:
        dropout: probability that an entry is dropped.
        like: what the mask is to be shaped like, on its device.
    """
    seed = torch.randint(_SEEDS, (), device="cpu")
    if not torch.compiler.is_compiling() and _batched(seed):
        return torch.rand(like.shape, device=like.device) >= dropout
    return seed


def mask(mask_seed: Tensor, dropout: float, like: Tensor) -> Tensor:
    """The entries that stay, shaped like `like`: the same each time that it is made of the same seed."""
    if mask_seed.dim():
        return mask_seed
    generator = torch.Generator(like.device).manual_seed(int(mask_seed))
    with _outside_of_batches():
        return torch.rand(like.shape, generator=generator, device=like.device) >= dropout


def _batched(tensor: Tensor) -> bool:
    """Whether it differs among the examples of a batch of torch.func."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        if torch._C._functorch.is_batchedtensor(tensor):
            return True
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return False


@contextmanager
def _outside_of_batches() -> Iterator[None]:
    """What a seed is made into is a constant, and not random."""
    before = [torch._C._dispatch_tls_is_dispatch_key_excluded(key) for key in _BATCHES]
    for key in _BATCHES:
        torch._C._dispatch_tls_set_dispatch_key_excluded(key, True)
    try:
        yield
    finally:
        for key, excluded in zip(_BATCHES, before, strict=True):
            torch._C._dispatch_tls_set_dispatch_key_excluded(key, excluded)
