"""What a model is trained on is what it is scored on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from experiments import families
from experiments.configuration.overrides import CONF
from experiments.configuration.spec import parse
from experiments.data import sources
from experiments.data.weights import weights_of
from experiments.run import preflight, training


@pytest.mark.parametrize("pooling", ["mean", "cls", "model"])
def test_training_sees_every_column_that_scoring_sees(pooling: str, tiny: list[str], tmp_path: Path) -> None:
    # Token types tell the sentences of a pair apart; Trainer drops a column that the model's forward does not name.
    overrides = [*tiny, "method=gpart", "task=glue/mrpc", f"backbone.pooling={pooling}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        spec = parse(compose("config", overrides))[0]
    preflight.prepare(spec)
    source = sources.source_of(spec.task, spec.data)
    family = families.family_of(spec, weights_of(spec.backbone, timeout=1), source.classes)
    splits = sources.load(source, spec)
    examples = family.examples(splits.train, "train")
    adapted = preflight.adapted(spec, family.load(0))
    run = training.trainer(spec, adapted, family, examples, examples, tmp_path)
    batch = next(iter(run.get_train_dataloader()))
    scored = family.trainer_options().collator([examples[0], examples[1]])
    assert set(batch) == set(scored)
    assert "token_type_ids" in batch

    model = adapted.model.eval()
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    alike = {**inputs, "token_type_ids": torch.zeros_like(inputs["token_type_ids"])}
    with torch.no_grad():
        assert not torch.equal(model(**inputs).logits, model(**alike).logits), "the model uses them"
