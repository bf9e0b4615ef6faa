"""How every model of the suite's own is trained: AdamW with warm-up, constant rate and linear decay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def descent(model: nn.Module, recipe: Mapping[str, Any]) -> Callable[[torch.Tensor], None]:
    """A function that takes one step down a loss, the gradient clipped by its norm.

    Args:
        model: put into training mode; each step changes its parameters.
        recipe: steps, learning_rate, betas, weight_decay, warmup_ratio, decay_ratio and max_grad_norm. The schedule is
            MiniCPM's (arXiv 2404.06395, section 4).
    """
    import torch
    from transformers import get_wsd_schedule

    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=recipe["learning_rate"],
        betas=tuple(recipe["betas"]),
        weight_decay=recipe["weight_decay"],
        fused=True,
    )
    schedule = get_wsd_schedule(
        optimizer,
        num_warmup_steps=round(recipe["warmup_ratio"] * recipe["steps"]),
        num_decay_steps=round(recipe["decay_ratio"] * recipe["steps"]),
        num_training_steps=recipe["steps"],
        decay_type="linear",
    )
    model.train()

    def step(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe["max_grad_norm"])
        optimizer.step()
        schedule.step()

    return step
