"""What activation checkpointing may not be combined with where all layers share one vector."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def check_reentrant(model: nn.Module) -> None:
    """Refuse transformers' reentrant checkpointing under DDP, in whose forward this is called.

    Each block then has a backward of its own. After the first of them DDP takes the vector's gradient for complete and
    averages it; what the other blocks add stays with its process, and DDP does not say so.

    Raises:
        ValueError: naming the option, and what is accepted.
    """
    ddp = DistributedDataParallel._get_active_ddp_module()
    if ddp is None or ddp.static_graph or not (model.training and torch.is_grad_enabled()):
        return
    for module in model.modules():
        options = getattr(getattr(module, "_gradient_checkpointing_func", None), "keywords", {})
        if getattr(module, "gradient_checkpointing", False) and options.get("use_reentrant"):
            raise ValueError(
                "use_reentrant: True under DistributedDataParallel; accepted are False, and True where DDP has "
                "static_graph=True (ddp_static_graph of TrainingArguments)"
            )
