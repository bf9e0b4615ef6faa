"""Training follows the authors' code step by step: its losses are in reference_training.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model

from gpart import GPartConfig
from tests.gpart.reference_models import bert, fill
from tests.gpart.small_models import tuner

REFERENCE = json.loads((Path(__file__).parent / "reference_training.json").read_text())
CASES: dict[str, dict[str, Any]] = {
    "stateless": {"scheme": "hash"},
    "materialized": {"scheme": "iid"},
    "blocks": {"scheme": "hash", "scope": "transformer_block"},
    "signed-magnitude": {"scheme": "signed_magnitude"},
}


@pytest.mark.parametrize("case", CASES)
def test_losses_follow_the_authors_code(case: str) -> None:
    model = adapted(CASES[case])
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.02, weight_decay=0.1)
    generator = torch.Generator().manual_seed(11)
    batches = [
        (torch.randint(3, 100, (8, 12), generator=generator), torch.randint(0, 3, (8,), generator=generator))
        for _ in range(2)
    ]
    losses = []
    for step in range(50):
        inputs, labels = batches[step % 2]
        loss = model(input_ids=inputs, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    expected = torch.tensor(REFERENCE[case]["losses"])
    torch.testing.assert_close(torch.tensor(losses), expected, rtol=0, atol=1e-5)
    length = tuner(model).gpart_theta["default"].norm().item()
    assert length == pytest.approx(REFERENCE[case]["norm"], rel=1e-4)


def adapted(values: dict[str, Any]) -> Any:
    """BERT with a vector of zeros and a trained head, both without dropout."""
    base: Any = bert()
    for module in base.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    fill(base)
    config = GPartConfig(d=100, seed=17, target_modules=["query", "value"], modules_to_save=["classifier"], **values)
    return get_peft_model(base, config).train()


def test_every_case_moves_the_vector_and_no_two_are_alike() -> None:
    assert all(REFERENCE[case]["norm"] > 0.1 for case in CASES)
    assert len({REFERENCE[case]["losses"][-1] for case in CASES}) == len(CASES)
