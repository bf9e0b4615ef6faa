"""The round trip of a trained run: to disk and back, merged and unmerged, with every difference measured."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Subset

from baselines import Adapted
from experiments.families.family import Examples, Family

PROBE_ROWS = 128
"""Examples on which outputs are compared before and after."""

BATCH_SIZE = 32

NOT_APPLICABLE = "not applicable"


def round_trip(
    adapted: Adapted,
    fresh_backbone: Callable[[], nn.Module],
    folder: Path,
    family: Family,
    examples: Examples,
) -> dict[str, Any]:
    """Save to `folder`, reload into a fresh backbone, merge and unmerge; the model ends as it began.

    Args:
        adapted: the trained model.
        fresh_backbone: gives the pretrained backbone anew, with a head of other initial values.
        folder: where the checkpoint goes.
        family: gives logits and what is predicted from them.
        examples: the first `PROBE_ROWS` are used.

    Returns:
        `reload`, `merge` and `unmerge`, each with the largest absolute difference of a logit and the number of changed
        predictions; `unmerge` also with the number of changed weight entries. `NOT_APPLICABLE` where a method has
        nothing to merge.
    """
    # A data set of `datasets` is not typed as sized.
    probe: Examples = Subset(examples, range(min(PROBE_ROWS, len(examples))))  # type: ignore[arg-type]
    before = family.outputs(adapted.model, probe, BATCH_SIZE)

    def compared(model: nn.Module) -> dict[str, Any]:
        after = family.outputs(model, probe, BATCH_SIZE)
        return {
            "max_abs_logit_difference": float(np.abs(after - before).max()),
            "changed_predictions": int((family.predicted(after) != family.predicted(before)).sum()),
            "examples": len(before),
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


def _copy(model: nn.Module) -> Mapping[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def _changed(before: Mapping[str, torch.Tensor], model: nn.Module) -> int:
    return sum(int((parameter.detach() != before[name]).sum()) for name, parameter in model.named_parameters())
