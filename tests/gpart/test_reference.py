"""The same groups exactly, scales to rounding, and the same outputs as the authors' code (reference.json)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor

from gpart import GPartConfig, Partition
from tests.gpart.reference_models import INPUTS, MODELS, fill, theta
from tests.gpart.small_models import tuner

REFERENCE = json.loads((Path(__file__).parent / "reference.json").read_text())
CASES = REFERENCE["cases"]
OF_MODELS = [case for case in CASES if case["model"]]


def name(case: dict[str, Any]) -> str:
    return f"{case['model']}-{case['scheme']}-{case['seed']}-{case.get('scope', 'global')}"


CASE = pytest.mark.parametrize("case", OF_MODELS, ids=name)


def sha256(values: Tensor, kind: str) -> str:
    return hashlib.sha256(values.numpy().astype(kind).tobytes()).hexdigest()


def assert_same_groups_and_scales(partition: Partition, case: dict[str, Any]) -> None:
    assert partition.n == case["N"]
    assert sha256(partition.group_ids(0, partition.n), "<i8") == case["ids"]
    # The groups are the authors' to the last id, and the sizes with them. The last bit of a root in float32 is the
    # processor's.
    exact = partition.group_sizes.double().rsqrt()
    torch.testing.assert_close(partition.scale(torch.float32).double(), exact, rtol=2e-7, atol=0)


def encoder_weights() -> Tensor:
    """1769472 normal values, every seventh of which is rounded to half precision, so that some are equal."""
    weights = torch.randn(1769472, generator=torch.Generator().manual_seed(6))
    return torch.where(torch.arange(len(weights)) % 7 == 0, weights.half().float(), weights)


def adapted(case: dict[str, Any]) -> Any:
    build, targets = MODELS[case["model"]]
    base = build()
    fill(base)
    values = {key: case[key] for key in ("d", "scheme", "seed", "scope") if key in case}
    config = GPartConfig(target_modules=targets, **values)
    return get_peft_model(base, config).eval()


@torch.no_grad()
def outputs(model: Any) -> Tensor:
    """The last logits of each example, as in reference.json."""
    result: Tensor = model(input_ids=INPUTS).logits
    return result.reshape(len(INPUTS), -1)[:, -20:].flatten()


def test_every_scheme_and_model_is_there() -> None:
    assert {(c["scheme"], c["model"]) for c in OF_MODELS} == {
        (scheme, model) for scheme in ("hash", "iid", "balanced", "signed_magnitude") for model in MODELS
    }
    assert {(c["scheme"], c["model"]) for c in OF_MODELS if c.get("scope") == "transformer_block"} == {
        (scheme, model) for scheme in ("hash", "iid", "signed_magnitude") for model in MODELS
    }
    assert len(CASES) == 29
    assert sum("outputs" in case for case in CASES) == 23


@CASE
def test_groups_and_scales_of_a_model(case: dict[str, Any]) -> None:
    assert_same_groups_and_scales(tuner(adapted(case)).partition(), case)


@pytest.mark.parametrize("case", [case for case in CASES if not case["model"]], ids=lambda c: c["scheme"])
def test_groups_and_scales_at_the_size_of_a_small_encoder(case: dict[str, Any]) -> None:
    sizes = [147456] * 12
    weights = encoder_weights().split(sizes) if case["scheme"] == "signed_magnitude" else None
    partition = Partition(scheme=case["scheme"], d=case["d"], seed=case["seed"], layer_sizes=sizes, weights=weights)
    assert_same_groups_and_scales(partition, case)


@pytest.mark.parametrize(
    "case", [c for c in OF_MODELS if "outputs" in c], ids=lambda c: f"{c['model']}-{c['scheme']}-{c['seed']}"
)
def test_outputs_of_a_model(case: dict[str, Any]) -> None:
    model = adapted(case)
    unadapted, expected = torch.tensor(REFERENCE["unadapted"][case["model"]]), torch.tensor(case["outputs"])
    assert (outputs(model) - unadapted).norm() <= 1e-6 * unadapted.norm()
    with torch.no_grad():
        tuner(model).gpart_theta["default"].copy_(theta())
    assert (expected - unadapted).norm() > 0.05 * expected.norm()
    assert (outputs(model) - expected).norm() <= 1e-6 * expected.norm()
