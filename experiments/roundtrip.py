"""The round trip of a trained run: to disk and back, merged and unmerged, with every difference measured."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from baselines import Adapted

PROBE_ROWS = 128
"""Examples on which outputs are compared before and after."""

NOT_APPLICABLE = "not applicable"


def round_trip(
    adapted: Adapted,
    fresh_backbone: Callable[[], nn.Module],
    folder: Path,
    probe: datasets.Dataset,
    tokenizer: PreTrainedTokenizerBase,
    predicted: Callable[[np.ndarray], np.ndarray],
) -> dict[str, Any]:
    """Save to `folder`, reload into a fresh backbone, merge and unmerge; the model ends as it began.

    Args:
        adapted: the trained model.
        fresh_backbone: gives the pretrained backbone anew, with a head of other initial values.
        folder: where the checkpoint goes.
        probe: tokenized examples; the first `PROBE_ROWS` are used.
        tokenizer: pads them.
        predicted: from logits (n, classes) to predictions (n,).

    Returns:
        `reload`, `merge` and `unmerge`, each with the largest absolute difference of a logit and the number of changed
        predictions; `unmerge` also with the number of changed weight entries. `NOT_APPLICABLE` where a method has
        nothing to merge.
    """
    rows = probe.select(range(min(PROBE_ROWS, len(probe))))
    before = logits(adapted.model, rows, tokenizer)

    def compared(model: nn.Module) -> dict[str, Any]:
        after = logits(model, rows, tokenizer)
        return {
            "max_abs_logit_difference": float(np.abs(after - before).max()),
            "changed_predictions": int((predicted(after) != predicted(before)).sum()),
            "examples": len(rows),
        }

    adapted.save(folder)
    result: dict[str, Any] = {"reload": compared(adapted.reload(fresh_backbone(), folder).model)}
    if not adapted.can_merge:
        return {**result, "merge": NOT_APPLICABLE, "unmerge": NOT_APPLICABLE}
    weights = _copy(adapted.model)
    adapted.merge()
    result["merge"] = compared(adapted.model)
    with warnings.catch_warnings():
        # A method may warn that subtracting leaves a rounding difference; it is measured here instead.
        warnings.simplefilter("ignore", UserWarning)
        adapted.unmerge()
    result["unmerge"] = {**compared(adapted.model), "changed_weights": _changed(weights, adapted.model)}
    return result


@torch.no_grad()
def logits(
    model: nn.Module, rows: datasets.Dataset, tokenizer: PreTrainedTokenizerBase, batch_size: int = 32
) -> np.ndarray:
    """Logits (n, classes) in float32, in the order of the rows, with dropout off."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    batches = DataLoader(rows, batch_size=batch_size, collate_fn=DataCollatorWithPadding(tokenizer))
    outputs = [model(**{k: v.to(device) for k, v in batch.items() if k != "labels"}).logits for batch in batches]
    model.train(was_training)
    return torch.cat(outputs).float().cpu().numpy()


def _copy(model: nn.Module) -> Mapping[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def _changed(before: Mapping[str, torch.Tensor], model: nn.Module) -> int:
    return sum(int((parameter.detach() != before[name]).sum()) for name, parameter in model.named_parameters())
