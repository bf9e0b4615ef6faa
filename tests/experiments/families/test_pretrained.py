"""Weights that do not fit are refused before anything is recorded; those that do load, whatever their names' prefix."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from experiments.data.checkpoint import Checkpoint
from experiments.errors import SpecError
from experiments.families.family import Family
from tests.experiments.conftest import Runner
from tests.experiments.families.small import family

SIZES = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}

Weights = dict[str, Tensor]


def saved(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "[END]": 2}, unk_token="[UNK]"))
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "eos_token": "[END]"}
    PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
    return folder


def assert_loads(subject: Family, folder: Path) -> None:
    """A family's model is made, and its embeddings and the queries of its attention are the stored ones."""
    subject.meta()
    loaded = {name: value for name, value in subject.load(0).state_dict().items() if _is_told(name)}
    stored = {name: value for name, value in load_file(folder / "model.safetensors").items() if _is_told(name)}
    assert len(loaded) == len(stored) > 1
    for name, value in loaded.items():
        assert any(torch.equal(value, other) for other in stored.values()), name


def _is_told(name: str) -> bool:
    return name.endswith(
        ("embeddings.weight", "embed_tokens.weight", "query.weight", "query_proj.weight", "q_proj.weight")
    )


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(BertForMaskedLM(BertConfig(**SIZES)), tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = LlamaConfig(**SIZES, num_key_value_heads=2, tie_word_embeddings=True)
    return saved(LlamaForCausalLM(config), tmp_path_factory.mktemp("llama"))


def changed(folder: Path, target: Path, change: Callable[[Weights], Weights]) -> Path:
    """A copy of the folder with other tensors."""
    shutil.copytree(folder, target)
    save_file(change(load_file(folder / "model.safetensors")), target / "model.safetensors", {"format": "pt"})
    return target


def configured(folder: Path, target: Path, **values: object) -> Path:
    """A copy of the folder with another config.json."""
    shutil.copytree(folder, target)
    config = json.loads((folder / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | values))
    return target


def refused(subject: Family) -> str:
    """The one line with which both the checks before a run and the run itself refuse the weights."""
    with pytest.raises(SpecError) as before:
        subject.meta()
    with pytest.raises(SpecError) as loading:
        subject.load(0)
    assert str(before.value) == str(loading.value)
    assert not subject.weights.errors(), "nothing is wrong with the files"
    (line,) = before.value.errors
    assert line.startswith(f"{subject.weights.key}: its weights ")
    assert "accepted: " in line
    return line


def without(part: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: value for name, value in weights.items() if part not in name}


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_pretraining_head_is_no_part_of_an_encoder(bert: Path, pooling: str) -> None:
    subject = family("encoder", bert, pooling=pooling)
    subject.meta()
    loaded = subject.load(0).state_dict()
    stored = load_file(bert / "model.safetensors")
    name = "encoder.layer.2.attention.self.query.weight"
    assert torch.equal(loaded[f"encoder.{name}"], stored[f"bert.{name}"])


def prefixed(weights: Weights) -> Weights:
    return {f"model.{name}": value for name, value in weights.items()}


def halved(weights: Weights) -> Weights:
    return {name: weights[name] for name in sorted(weights)[::2]}


def reshaped(weights: Weights) -> Weights:
    return weights | {"bert.embeddings.word_embeddings.weight": torch.zeros(20, 8)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (prefixed, "lack 53 tensors"),
        (lambda weights: {}, "lack 53 tensors"),
        (
            without("layer.1.attention.self.query.weight"),
            "lack 1 tensors (encoder.layer.1.attention.self.query.weight)",
        ),
        (halved, "lack 26 tensors"),
        (reshaped, "have another shape for 1 tensors (embeddings.word_embeddings.weight)"),
        (
            lambda weights: weights | {"bert.encoder.layer.0.extra.weight": torch.zeros(2)},
            "hold, beside what the model has, 1 tensors (bert.encoder.layer.0.extra.weight)",
        ),
    ],
    ids=["prefixed", "empty", "one missing", "half missing", "another shape", "one too many"],
)
def test_tensors_that_do_not_fit_are_refused(
    bert: Path, tmp_path: Path, change: Callable[[Weights], Weights], said: str
) -> None:
    assert said in refused(family("encoder", changed(bert, tmp_path / "changed", change), pooling="mean"))


def test_the_first_three_are_named_and_the_others_counted(bert: Path, tmp_path: Path) -> None:
    folder = changed(bert, tmp_path / "changed", without("layer.1."))
    line = refused(family("encoder", folder, pooling="mean"))
    assert "lack 16 tensors (" in line
    assert line.count("encoder.layer.1.") == 3
    assert "and 13 more" in line


@pytest.mark.parametrize(("layers", "said"), [(4, "lack 16 tensors"), (2, "hold, beside what the model has, 16 ")])
def test_another_number_of_layers_than_the_file_has_is_refused(
    bert: Path, tmp_path: Path, layers: int, said: str
) -> None:
    folder = configured(bert, tmp_path / "changed", num_hidden_layers=layers)
    assert said in refused(family("encoder", folder, pooling="mean"))


def test_a_dropped_layer_of_a_language_model_is_refused(llama: Path, tmp_path: Path) -> None:
    folder = changed(llama, tmp_path / "changed", without("layers.1."))
    assert "lack 9 tensors (model.layers.1.input_layernorm.weight" in refused(family("causal", folder, None))


def test_tied_weights_need_not_be_stored(llama: Path) -> None:
    assert "lm_head.weight" not in load_file(llama / "model.safetensors")
    subject = family("causal", llama, None)
    subject.meta()
    model = subject.load(0)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_the_untied_output_of_a_language_model_must_be_stored(llama: Path, tmp_path: Path) -> None:
    folder = configured(llama, tmp_path / "changed", tie_word_embeddings=False)
    assert "lack 1 tensors (lm_head.weight)" in refused(family("causal", folder, None))


def test_a_pooler_that_was_not_pretrained_must_be_named_in_the_head(tmp_path: Path) -> None:
    model = DebertaV2ForMaskedLM(DebertaV2Config(**SIZES, pooler_hidden_size=16))
    folder = saved(model, tmp_path / "deberta")
    line = refused(family("encoder", folder, head=["classifier"]))
    assert "lack 2 tensors (pooler.dense.bias, pooler.dense.weight)" in line
    assert "name it in backbone.head, which is [classifier]" in line
    subject = family("encoder", folder, head=["pooler", "classifier"])
    assert_loads(subject, folder)


def test_a_pooler_that_the_model_leaves_out_is_harmless(tmp_path: Path) -> None:
    stored = RobertaForMaskedLM(RobertaConfig(**SIZES))
    folder = saved(stored, tmp_path / "roberta")
    weights = load_file(folder / "model.safetensors")
    pooler = {
        f"roberta.pooler.dense.{name}": torch.zeros(shape) for name, shape in {"weight": (16, 16), "bias": 16}.items()
    }
    save_file(weights | pooler, folder / "model.safetensors", {"format": "pt"})
    subject = family("encoder", folder)
    assert_loads(subject, folder)


def test_buffers_of_older_versions_are_harmless(bert: Path, tmp_path: Path) -> None:
    positions = {"bert.embeddings.position_ids": torch.arange(32)[None]}
    folder = changed(bert, tmp_path / "changed", lambda weights: weights | positions)
    assert_loads(family("encoder", folder, pooling="mean"), folder)


def test_a_bare_encoder_loads_into_a_model_with_a_head(bert: Path, tmp_path: Path) -> None:
    folder = saved(BertForSequenceClassification(BertConfig(**SIZES)).bert, tmp_path / "bare")
    assert "embeddings.word_embeddings.weight" in load_file(folder / "model.safetensors")
    subject = family("encoder", folder)
    assert_loads(subject, folder)


def test_a_head_of_another_number_of_classes_is_drawn_anew(tmp_path: Path) -> None:
    folder = saved(BertForSequenceClassification(BertConfig(**SIZES, num_labels=5)), tmp_path / "five")
    subject = family("encoder", folder, 2)
    assert subject.meta().classifier.weight.shape == subject.load(0).classifier.weight.shape == (2, 16)


@pytest.mark.parametrize("pooling", ["model", "mean"])
def test_a_new_head_that_is_not_named_is_refused(tmp_path: Path, pooling: str) -> None:
    folder = saved(BertForSequenceClassification(BertConfig(**SIZES)).bert, tmp_path / "bare")
    said = (
        r"^backbone\.head=\[\]: classifier\.bias, classifier\.weight of \w+ are new and would stay random; accepted: "
    )
    with pytest.raises(SpecError, match=said):
        family("encoder", folder, head=[], pooling=pooling).meta()


def test_a_head_that_matches_nothing_is_refused(bert: Path) -> None:
    with pytest.raises(ValueError, match=r"^backbone\.head=clasifier: names no module of PooledClassifier; accepted: "):
        family("encoder", bert, head=["clasifier"], pooling="mean").meta()


def test_an_image_model_without_a_layer_or_a_named_head_is_refused(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "deit-tiny-patch16-224"
    family("vit", folder, 10).meta()
    with pytest.raises(SpecError, match=r"^backbone\.head=\[\]: classifier\.bias, classifier\.weight of ViT"):
        family("vit", folder, 10, head=[]).meta()
    copy = changed(folder, tmp_path / "changed", without("encoder.layer.3."))
    assert "lack 16 tensors (vit.layers.3.attention.k_proj.bias" in refused(family("vit", copy, 10))


@pytest.mark.parametrize(
    ("backbone", "name", "classes", "changes"),
    [
        ("encoder", "minilm-l6", 2, {"pooling": "mean"}),
        ("encoder", "minilm-l6", 2, {"pooling": "model"}),
        ("causal", "stories260K-llama", None, {}),
        ("vit", "deit-tiny-patch16-224", 10, {}),
    ],
)
def test_real_weights_load_as_they_are(
    shared_data: Path, backbone: str, name: str, classes: int | None, changes: dict[str, str]
) -> None:
    subject = family(backbone, shared_data / name, classes, **changes)
    assert subject.weights.errors() == []
    assert_loads(subject, shared_data / name)


def test_minilm_with_prefixed_names_is_refused(shared_data: Path, tmp_path: Path) -> None:
    folder = changed(shared_data / "minilm-l6", tmp_path / "prefixed", prefixed)
    assert "lack 101 tensors" in refused(family("encoder", folder, pooling="mean"))


def test_a_refused_run_leaves_nothing_on_disk(
    tiny: list[str], tiny_backbone: Path, tmp_path: Path, run_py: Runner
) -> None:
    folder = changed(tiny_backbone, tmp_path / "changed", without("layer.1.attention.self.query.weight"))
    result = run_py(*tiny, "method=head", "task=glue/sst2", f"backbone.path={folder}")
    assert result.returncode == 2
    assert "its weights lack 1 tensors (bert.encoder.layer.1.attention.self.query.weight)" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_the_headers_alone_are_read(bert: Path) -> None:
    shapes = Checkpoint(bert, "tokenizer", "k").shapes()
    stored = load_file(bert / "model.safetensors")
    assert shapes == {name: tuple(value.shape) for name, value in stored.items()}
