"""The round trip of a trained run: reloaded from disk, merged and unmerged, with every difference measured."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn
from torch.utils.data import Subset

from baselines import Adapted
from experiments.families.family import Examples, Family
from experiments.run.devices import is_out_of_memory
from schema.record import Comparison, RoundTrip

PROBE_ROWS = 128
"""Examples on which outputs are compared before and after."""

BATCH_SIZE = 32
STEPS = ("reload", "merge", "unmerge")


@dataclass(frozen=True)
class Tolerance:
    """Largest accepted difference of a logit, as a share of the largest logit (of 1 where that is below 1)."""

    reload: float
    merge: float


TOLERANCES: Mapping[str, Tolerance] = {
    "float32": Tolerance(reload=1e-6, merge=1e-3),
    "bfloat16": Tolerance(reload=2**-7, merge=2**-4),
    "float16": Tolerance(reload=2**-10, merge=2**-6),
}
"""By the recipe's precision.

Reloading repeats the same arithmetic: all 207 records of results/ and every model measured in half precision differ by
0. What is left is one rounding of the largest logit (8 of float32), for a kernel that sums in another order where a
tensor lies elsewhere in memory.

Merging rounds otherwise, W + BA for W x + B(A x). Measured with LoRA, Uni-LoRA and VeRA on the embedded encoder, ViT
and language model, MiniLM-L6 (float32) and stories260K: at most 3e-6 in float32, 0.021 in bfloat16, 0.0035 in float16.
An adapter that training has blown up loses more, which is no fault of merging: 0.0045 of a logit in one of the 207.
"""

Outcome = Comparison | str
"""What was measured, or in a text why nothing was."""


def skipped(reason: str) -> RoundTrip:
    """The `round_trip` of a record where it was not tried."""
    return RoundTrip(**dict.fromkeys(STEPS, f"skipped: {reason}"))


def round_trip(
    adapted: Adapted,
    fresh_backbone: Callable[[], nn.Module],
    folder: Path,
    family: Family,
    examples: Examples,
) -> RoundTrip:
    """Reload what was saved into a fresh backbone, merge and unmerge; whatever fails says so in its place.

    All on the model's device and in the recipe's precision. Merging may fail halfway: do not use the model afterwards.

    Args:
        adapted: the trained model.
        fresh_backbone: gives the pretrained backbone anew, with a head of other initial values.
        folder: the checkpoint of `adapted`.
        family: gives logits and what is predicted from them.
        examples: the first `PROBE_ROWS` are used.

    Returns:
        `reload`, `merge` and `unmerge`: each the largest absolute difference of a logit and the accepted one, how many
        predictions changed of how many, `unmerge` also how many weight entries; or a text that begins with "not
        applicable", "failed" or "skipped".
    """
    probe = _Probe(adapted.model, family, examples)
    tolerance = TOLERANCES[family.spec.recipe.precision]
    try:
        reloaded = adapted.reload(fresh_backbone(), folder)
        reloaded.model.to(next(adapted.model.parameters()).device)
        result = RoundTrip(reload=probe.compared(reloaded.model, tolerance.reload))
    except Exception as error:  # the run's scores stand, whatever its proof runs into
        return skipped("nothing was reloaded").model_copy(update={"reload": _failure(error)})
    if not adapted.can_merge:
        result.merge = result.unmerge = f"not applicable: {adapted.name} has nothing to merge"
        return result
    result.unmerge = "skipped: nothing was merged"
    return result.model_copy(update=_merging(adapted, reloaded, probe, tolerance.merge))


def broken(result: RoundTrip) -> str | None:
    """What makes the outcome `broken_round_trip`, in one line; None where nothing does.

    That is a difference beyond its tolerance, or a checkpoint that could not be reloaded. A merge that fails does not:
    the scores are those of the model as it was trained.
    """
    failed = isinstance(result.reload, str) and result.reload.startswith("failed")
    lines = [f"reload: {result.reload}"] if failed else []
    for step in STEPS:
        part = getattr(result, step)
        if isinstance(part, Comparison) and not (part.max_abs_logit_difference or 0.0) <= (part.tolerance or 0.0):
            lines.append(
                f"{step}: logits differ by up to {part.max_abs_logit_difference:.3g} (accepted: "
                f"{part.tolerance:.3g}), {part.changed_predictions} of {part.examples} predictions changed"
            )
    return "; ".join(lines) or None


class _Probe:
    """Outputs of the model as it was trained, to compare others with."""

    def __init__(self, model: nn.Module, family: Family, examples: Examples) -> None:
        # A data set of `datasets` is not typed as sized.
        self._examples: Examples = Subset(examples, range(min(PROBE_ROWS, len(examples))))  # type: ignore[arg-type]
        self._family = family
        self._before = family.outputs(model, self._examples, BATCH_SIZE)

    def compared(self, model: nn.Module, tolerance: float) -> Comparison:
        """The differences of `model`, and what is accepted: `tolerance` times the largest logit."""
        after, predicted = self._family.outputs(model, self._examples, BATCH_SIZE), self._family.predicted
        return Comparison(
            max_abs_logit_difference=float(np.abs(after - self._before).max()),
            tolerance=tolerance * max(1.0, float(np.abs(self._before).max())),
            changed_predictions=int((predicted(after) != predicted(self._before)).sum()),
            examples=len(self._before),
        )


def _merging(adapted: Adapted, reference: Adapted, probe: _Probe, tolerance: float) -> dict[str, Outcome]:
    """`merge` and `unmerge`; the backbone of `reference` is what unmerging should give again."""
    result: dict[str, Outcome] = {}
    for step, change in (("merge", adapted.merge), ("unmerge", adapted.unmerge)):
        try:
            with warnings.catch_warnings():
                # A method may warn that subtracting leaves a rounding difference; it is measured here instead.
                warnings.simplefilter("ignore", UserWarning)
                change()
            compared = result[step] = probe.compared(adapted.model, tolerance)
        except Exception as error:  # as above
            return {**result, step: _failure(error)}
    compared.changed_weights = _changed(adapted, reference)
    return result


def _changed(adapted: Adapted, reference: Adapted) -> int:
    """Entries of merged weights that are not those of the reference, which spares a copy of them all."""
    expected = dict(reference.merged_weights())
    return sum(int((weight != expected[name]).sum()) for name, weight in adapted.merged_weights())


def _failure(error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, NotImplementedError):
        return f"not applicable: {reason}"
    if is_out_of_memory(error):
        return f"skipped: out of memory ({reason})"
    return f"failed: {type(error).__name__}: {reason}"
