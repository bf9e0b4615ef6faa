"""What PEFT does around a tuner: heads that a task adds, the caller's configuration, all-linear, mixed batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)

from gpart import GPartConfig
from tests.gpart.conformance.models import (
    EACH_MODEL,
    EACH_TRANSFORMER,
    ENCODER,
    IDS,
    MODELS,
    STRONG,
    Model,
    randomise,
    tuner,
)

MLP = MODELS[0]
TASKS = {
    "SEQ_CLS": (BertForSequenceClassification, "classifier"),
    "TOKEN_CLS": (BertForTokenClassification, "classifier"),
    "QUESTION_ANS": (BertForQuestionAnswering, "qa_outputs"),
    "FEATURE_EXTRACTION": (BertModel, None),
}


def of_task(task: str) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = TASKS[task][0](BertConfig(**ENCODER, **STRONG, vocab_size=60)).eval()
    return model


def output(model: nn.Module) -> Tensor:
    result: Tensor = model(input_ids=IDS)[0]
    return result


@pytest.mark.parametrize("task", TASKS)
def test_the_head_of_a_task_trains_and_is_saved(task: str, tmp_path: Path) -> None:
    _, head = TASKS[task]
    model = get_peft_model(of_task(task), GPartConfig(d=24, target_modules=["query", "value"], task_type=task)).eval()
    randomise(model)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    expected = {f"base_model.model.{head}.modules_to_save.default.{name}" for name in ("weight", "bias") if head}
    assert trainable == {"base_model.gpart_theta.default"} | expected
    if head:
        with torch.no_grad():
            model.get_base_model().get_submodule(head).modules_to_save["default"].weight.normal_()
    model.add_adapter("other", GPartConfig(d=24, target_modules=["query", "value"], task_type=task))
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(of_task(task), str(tmp_path)).eval()
    assert torch.equal(output(loaded), output(model))
    assert type(loaded) is type(model)


@EACH_MODEL
def test_the_configuration_is_the_caller_s_own_object(model: Model, tmp_path: Path) -> None:
    config = model.config()
    adapted = get_peft_model(model.new(), config)
    assert adapted.peft_config["default"] is config
    adapted.save_pretrained(tmp_path)
    assert PeftModel.from_pretrained(model.new(), str(tmp_path), config=config).peft_config["default"] is config


def test_one_configuration_serves_two_models_and_describes_each(tmp_path: Path) -> None:
    config = GPartConfig(d=24, target_modules=["first", "second"])
    models = [get_peft_model(model.new(), config).eval() for model in MODELS[:2]]
    for model, adapted in zip(MODELS[:2], models, strict=True):
        randomise(adapted)
        adapted.save_pretrained(tmp_path / model.name)
        saved = json.loads((tmp_path / model.name / "adapter_config.json").read_text())["partition"]
        assert saved == tuner(adapted).partition().manifest
        loaded = PeftModel.from_pretrained(model.new(), str(tmp_path / model.name)).eval()
        assert torch.equal(model.output(loaded), model.output(adapted))


@EACH_TRANSFORMER
@pytest.mark.parametrize("first", ["all-linear", None], ids=["after all", "after some"])
def test_a_second_adapter_finds_all_linear(model: Model, first: str | None) -> None:
    changes: dict[str, Any] = {} if first is None else {"target_modules": first}
    adapted = model.adapted(**changes)
    adapted.add_adapter("other", model.config(target_modules="all-linear"))
    alone = model.adapted(target_modules="all-linear")
    assert tuner(adapted).partition("other").layers == tuner(alone).partition().layers


@EACH_MODEL
def test_a_batch_of_several_adapters_is_refused(model: Model) -> None:
    adapted = model.adapted()
    with pytest.raises(ValueError, match=r"adapter_names: \['default', '__base__'\]; accepted is None"):
        adapted(**model.inputs, adapter_names=["default", "__base__"])
