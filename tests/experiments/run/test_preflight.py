from __future__ import annotations

from pathlib import Path

import pytest

from experiments.errors import SpecError
from tests.experiments.runs import run


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["+method.config.lora_alhpa=3"],
            "method.config.lora_alhpa: unknown key (did you mean method.config.lora_alpha?)",
        ),
        (["method.config._target_=torch.load"], "method.config._target_=torch.load: configures no method; accepted: "),
        (["backbone.max_length=33"], "backbone.max_length=33: the model has 32 positions; accepted: that or less"),
        (
            ["++backbone.architecture.num_attention_heads=3"],
            "backbone.architecture: no bert model can be built (The hidden size (16) is not a multiple",
        ),
        (["++backbone.architecture.hidden_act=foo"], "backbone.architecture: no bert model can be built ('foo')"),
    ],
)
def test_a_method_or_backbone_that_nothing_can_be_built_of_is_refused_before_anything_is_written(
    overrides: list[str], line: str, tiny: list[str], tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as refusal:
        run(*tiny, "method=lora", "task=glue/sst2", *overrides)
    (found,) = refusal.value.errors
    assert found.startswith(line)
    assert not (tmp_path / "outputs").exists()
