"""Query, key and value as three modules where timm computes them by one.

timm's attention has one `qkv` layer, so a PEFT method can target all of it or nothing. Here its rows are dealt out to
three layers, named as in transformers' ViT, and `target_modules=[q_proj, v_proj]` means the same weights in both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

QKV = "qkv"


class SplitQKV(nn.Module):
    """What a fused layer computes, from three layers with a third of its rows each.

    Args:
        fused: a layer from (..., in) to (..., 3 * out) whose rows are all of the query, then the key, then the value.
    """

    def __init__(self, fused: nn.Linear) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (_third(fused, part) for part in range(3))
        self.train(fused.training)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) to query, key and value side by side, (..., 3 * out)."""
        return torch.cat((self.q_proj(x), self.k_proj(x), self.v_proj(x)), dim=-1)


def _third(fused: nn.Linear, part: int) -> nn.Linear:
    """A layer with a copy of the rows that are query (0), key (1) or value (2)."""
    weight, bias = fused.weight.detach().chunk(3)[part], fused.bias
    with torch.device("meta"):
        layer = nn.Linear(fused.in_features, fused.out_features // 3, bias=bias is not None)
    layer.weight = nn.Parameter(weight.clone(), requires_grad=fused.weight.requires_grad)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().chunk(3)[part].clone(), requires_grad=bias.requires_grad)
    return layer


def split_qkv(model: nn.Module) -> int:
    """Replace, in place, every fused query-key-value layer of timm's attention by a `SplitQKV`.

    Works on the meta device too.

    Returns:
        How many were replaced.

    Raises:
        ValueError: if there is none, or one whose rows are not known to be query, key and value in this order (timm's
            MaxViT interleaves them by head, its BEiT reads the fused weight itself).
    """
    from timm.layers.attention import Attention, AttentionRope

    owners = [
        (name, module) for name, module in model.named_modules() if isinstance(getattr(module, QKV, None), nn.Module)
    ]
    for name, owner in owners:
        if not isinstance(owner, (Attention, AttentionRope)) or not isinstance(owner.qkv, nn.Linear):
            raise ValueError(
                f"backbone.split_qkv=true: {name}.{QKV} is a {type(owner.qkv).__name__} of a {type(owner).__name__}, "
                "whose rows are not known to be query, key and value; accepted: split_qkv=false with "
                f"target_modules=[{QKV}]"
            )
    if not owners:
        raise ValueError(
            f"backbone.split_qkv=true: {type(model).__name__} has no fused {QKV} layer; accepted: split_qkv=false"
        )
    for _, owner in owners:
        owner.qkv = SplitQKV(owner.qkv)
    return len(owners)
