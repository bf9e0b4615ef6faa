"""The trained vector where a model is sharded: whole on every process, beside weights that are not.

FSDP shards the vector with what is left to its root, and by itself gathers it before any layer reads it. It does not
take it where its unit has to be of one type and is not: half-precision weights beside a float32 vector.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gpart.tuner.model import GPartModel


def replicated(model: nn.Module, group: dist.ProcessGroup | None = None) -> set[nn.Parameter]:
    """Keep the vectors of a model out of its sharding: d values and their optimizer's state on every process.

    Their gradients are averaged over the processes from now on, whenever backward has added to them. The mean of what
    has been averaged before is itself, so that accumulated gradients come out right as well.

    Args:
        model: with GPart adapters, before it is sharded.
        group: of the processes that share the batch; None is all of them.

    Returns:
        What `fully_shard` takes as `ignored_params`, and `FullyShardedDataParallel` as `ignored_states`.

    Raises:
        ValueError: if the model has no GPart adapter.
    """
    tuners = [module for module in model.modules() if isinstance(module, GPartModel)]
    vectors = {theta for tuner in tuners for theta in tuner.gpart_theta.values()}
    if not vectors:
        raise ValueError(f"model: a {type(model).__name__} without a GPart adapter; accepted is one with")

    @torch.no_grad()
    def average(theta: Tensor) -> None:
        assert theta.grad is not None
        dist.all_reduce(theta.grad, group=group)
        theta.grad /= dist.get_world_size(group)

    for theta in vectors:
        if theta.requires_grad:
            theta.register_post_accumulate_grad_hook(average)
    return vectors
