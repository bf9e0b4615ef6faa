"""Each method on each backbone: what trains, what does not, and the way to disk and into the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import FourierFTConfig, IA3Config, LoraConfig, PromptTuningConfig, UniLoraConfig, VeraConfig, get_peft_model
from safetensors.torch import load_file, save
from tiny_backbones import ADAPTED_WEIGHTS, BACKBONES, HIDDEN, LAYERS, MERGEABLE, METHODS, SHAPE, Backbone
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

from baselines import Adapted, BitFit, FullFineTuning, adapt
from gpart import GPartConfig


def adapted_to(method: str, backbone: Backbone, **new: int) -> Adapted:
    return adapt(backbone.new(**new), METHODS[method](backbone.targets), head=backbone.head, init_seed=5)


def train(adapted: Adapted, inputs: dict[str, Tensor], steps: int = 3) -> None:
    parameters = [p for _, p in adapted.adapter_parameters() + adapted.head_parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(adapted.model(**inputs).logits, torch.tensor([0, 1, 2, 0]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def logits(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        result: Tensor = model.eval()(**inputs).logits
    return result


def expected_theta(method: str, backbone: Backbone) -> int:
    everything = sum(p.numel() for p in backbone.new().parameters())
    return {
        "lora": LAYERS * 2 * (2 * HIDDEN + HIDDEN * 2),
        "unilora": 24,
        "gpart": 24,
        "vera": LAYERS * 2 * (4 + HIDDEN),
        "full": everything - backbone.head_size,
        "bitfit": backbone.biases,
        "head": 0,
    }[method]


def expected_adapted(method: str, backbone: Backbone) -> int:
    return ADAPTED_WEIGHTS if method in MERGEABLE else expected_theta(method, backbone)


def assert_counts(adapted: Adapted, method: str, backbone: Backbone) -> None:
    assert adapted.theta == expected_theta(method, backbone)
    assert sum(p.numel() for _, p in adapted.head_parameters()) == backbone.head_size
    trainable = sum(p.numel() for p in adapted.model.parameters() if p.requires_grad)
    assert trainable == adapted.theta + backbone.head_size
    assert adapted.adapted_weights == expected_adapted(method, backbone)
    everything = sum(p.numel() for p in backbone.new().parameters())
    assert adapted.total == everything + (adapted.theta if method in MERGEABLE else 0)
    assert adapted.dead_coordinates == 0


def test_counts_match_a_count_by_hand(method: str, backbone: Backbone) -> None:
    assert_counts(adapted_to(method, backbone), method, backbone)


def test_biases_in_the_partition_count_as_adapted() -> None:
    backbone = BACKBONES["bert"]
    method = GPartConfig(d=24, target_modules=backbone.targets, bias="all")
    adapted = adapt(backbone.new(), method, head=backbone.head, init_seed=5)
    assert adapted.adapted_weights == ADAPTED_WEIGHTS + LAYERS * 2 * HIDDEN
    assert adapted.theta == 24


def test_counts_need_no_memory(method: str, backbone: Backbone) -> None:
    with torch.device("meta"):
        model = backbone.build()
    adapted = adapt(model, METHODS[method](backbone.targets), head=backbone.head, init_seed=5)
    assert_counts(adapted, method, backbone)
    assert all(p.is_meta for _, p in adapted.head_parameters())


def test_the_head_keeps_the_values_that_it_was_given(method: str, backbone: Backbone) -> None:
    reference = backbone.new(head=11)
    given = [p for name in backbone.head for p in reference.get_submodule(name).parameters()]
    kept = [p for _, p in adapted_to(method, backbone, head=11).head_parameters()]
    assert len(given) == len(kept)
    assert all(any(torch.equal(g, k) for k in kept) for g in given)


def test_training_changes_what_trains_and_nothing_else(method: str, backbone: Backbone) -> None:
    adapted = adapted_to(method, backbone)
    before = {name: p.detach().clone() for name, p in adapted.model.named_parameters()}
    train(adapted, backbone.inputs())
    changed = {name for name, p in adapted.model.named_parameters() if not torch.equal(p, before[name])}
    adapter = {name for name, _ in adapted.adapter_parameters()}
    head = {name for name, _ in adapted.head_parameters()}
    assert changed <= adapter | head
    assert head <= changed
    assert bool(changed & adapter) == bool(adapter)


def test_everything_that_was_trained_comes_back_from_disk(method: str, backbone: Backbone, tmp_path: Path) -> None:
    adapted = adapted_to(method, backbone)
    train(adapted, backbone.inputs())
    adapted.save(tmp_path)
    state = torch.get_rng_state()
    fresh = backbone.new(head=99)
    torch.set_rng_state(state)
    reloaded = adapted.reload(fresh, tmp_path)
    assert torch.equal(torch.get_rng_state(), state), "loading drew from the caller's generator"
    inputs = backbone.inputs()
    assert torch.equal(logits(reloaded.model, inputs), logits(adapted.model, inputs))
    assert reloaded.theta == adapted.theta
    assert len(reloaded.head_parameters()) == len(adapted.head_parameters())


def test_checkpoint_bytes_are_those_of_the_files(method: str, backbone: Backbone, tmp_path: Path) -> None:
    adapted = adapted_to(method, backbone)
    adapted.save(tmp_path)
    file = adapted.weights_file(tmp_path)
    assert adapted.checkpoint_bytes(tmp_path, with_head=True) == file.stat().st_size
    stored = load_file(file)
    in_head = {name for name in stored if any(f".{h}." in f".{name}" for h in backbone.head)}
    assert sum(stored[name].numel() for name in in_head) == backbone.head_size
    without = {name: tensor for name, tensor in stored.items() if name not in in_head}
    assert adapted.checkpoint_bytes(tmp_path, with_head=False) == len(save(without, metadata={"format": "pt"}))


@pytest.mark.parametrize("method", MERGEABLE)
def test_merging_keeps_the_outputs_and_unmerging_the_weights(method: str, backbone: Backbone) -> None:
    adapted, inputs = adapted_to(method, backbone), backbone.inputs()
    base = logits(adapted.model, inputs)
    train(adapted, inputs)
    before = logits(adapted.model, inputs)
    assert (before - base).abs().max() > 1e-2
    weights = {name: p.detach().clone() for name, p in adapted.model.named_parameters()}
    assert adapted.can_merge

    plain = adapted.merged_model()
    assert type(plain) is type(backbone.build())
    assert {name for name, _ in plain.named_parameters()} == {name for name, _ in backbone.new().named_parameters()}
    torch.testing.assert_close(logits(plain, inputs), before, rtol=0, atol=1e-5)
    assert torch.equal(logits(adapted.model, inputs), before), "the export changed the model"

    adapted.merge()
    torch.testing.assert_close(logits(adapted.model, inputs), before, rtol=0, atol=1e-5)
    assert torch.equal(logits(adapted.merged_model(), inputs), logits(adapted.model, inputs))
    adapted.unmerge()
    for name, parameter in adapted.model.named_parameters():
        torch.testing.assert_close(parameter.detach(), weights[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in MERGEABLE])
def test_methods_without_merging_say_so(method: str) -> None:
    adapted = adapted_to(method, BACKBONES["bert"])
    assert not adapted.can_merge
    with pytest.raises(NotImplementedError, match=method):
        adapted.merge()


@pytest.mark.parametrize("config", [UniLoraConfig, VeraConfig, IA3Config])
def test_stock_peft_still_fails_to_unload_beside_a_head_without_weight(config: Any) -> None:
    roberta = BACKBONES["roberta"]
    more: dict[str, Any] = {"feedforward_modules": []} if config is IA3Config else {}
    own = config(target_modules=roberta.targets, modules_to_save=["classifier"], **more)
    with pytest.raises(AttributeError, match="weight"):
        get_peft_model(roberta.new(), own).merge_and_unload()


def test_a_peft_method_that_nobody_registered_works(tmp_path: Path) -> None:
    roberta = BACKBONES["roberta"]
    config = FourierFTConfig(n_frequency=9, target_modules=roberta.targets)
    adapted = adapt(roberta.new(), config, head=roberta.head, init_seed=5)
    assert adapted.name == "fourierft"
    assert adapted.theta == LAYERS * 2 * 9
    inputs = roberta.inputs()
    train(adapted, inputs)
    adapted.save(tmp_path)
    reloaded = adapted.reload(roberta.new(head=99), tmp_path)
    assert torch.equal(logits(reloaded.model, inputs), logits(adapted.model, inputs))
    torch.testing.assert_close(logits(adapted.merged_model(), inputs), logits(adapted.model, inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["lora", "unilora"])
def test_the_init_seed_alone_decides_the_initial_values(method: str) -> None:
    bert = BACKBONES["bert"]

    def initial(seed: int, noise: int) -> list[Tensor]:
        model = bert.new()
        torch.manual_seed(noise)
        state = torch.get_rng_state()
        adapted = adapt(model, METHODS[method](bert.targets), head=bert.head, init_seed=seed)
        assert torch.equal(torch.get_rng_state(), state), "adapting drew from the caller's generator"
        return [p.detach() for _, p in adapted.adapter_parameters()]

    first, again, other = initial(0, noise=1), initial(0, noise=2), initial(1, noise=1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_gpart_starts_at_the_backbone_itself() -> None:
    bert = BACKBONES["bert"]
    adapted = adapted_to("gpart", bert)
    assert [p.abs().max().item() for _, p in adapted.adapter_parameters()] == [0.0]
    assert torch.equal(logits(adapted.model, bert.inputs()), logits(bert.new(), bert.inputs()))


def test_gpart_merges_without_any_rounding() -> None:
    bert = BACKBONES["bert"]
    adapted = adapted_to("gpart", bert)
    train(adapted, bert.inputs())
    before = logits(adapted.model, bert.inputs())
    assert torch.equal(logits(adapted.merged_model(), bert.inputs()), before)
    adapted.merge()
    assert torch.equal(logits(adapted.model, bert.inputs()), before)


def test_the_configuration_is_left_as_it_was() -> None:
    bert = BACKBONES["bert"]
    config = LoraConfig(r=2, target_modules=bert.targets)
    before = config.to_dict()
    adapt(bert.new(), config, head=bert.head, init_seed=0)
    assert config.to_dict() == before


def test_runtime_state_is_what_is_kept_beside_the_parameters() -> None:
    bert = BACKBONES["bert"]
    entries = LAYERS * 2 * (4 * HIDDEN + HIDDEN * 4)  # of all A and B at rank 4
    state = {name: adapted_to(name, bert).runtime_state_bytes for name in ("lora", "unilora", "vera", "full")}
    assert state == {
        "lora": 0,
        "full": 0,
        "unilora": entries * (8 + 4),  # an int64 index, a float32 scale
        "vera": 2 * 4 * HIDDEN * 4,  # A and B, shared by all layers
    }


@pytest.mark.parametrize(("cache_ids", "bytes_per_weight"), [(True, 4), (False, 0)])
def test_runtime_state_of_gpart_is_its_cached_groups(cache_ids: bool, bytes_per_weight: int) -> None:
    bert = BACKBONES["bert"]
    config = GPartConfig(d=24, target_modules=bert.targets, cache_ids=cache_ids)
    adapted = adapt(bert.new(), config, head=bert.head, init_seed=0)
    train(adapted, bert.inputs())
    assert adapted.runtime_state_bytes == bytes_per_weight * ADAPTED_WEIGHTS


def test_dead_coordinates_of_gpart_are_its_empty_groups() -> None:
    bert = BACKBONES["bert"]
    config = GPartConfig(d=ADAPTED_WEIGHTS, target_modules=bert.targets)
    with pytest.warns(UserWarning, match="coordinates reach none"):
        adapted = adapt(bert.new(), config, head=bert.head, init_seed=0)
    dead = adapted.dead_coordinates
    train(adapted, bert.inputs())
    theta = adapted.adapter_parameters()[0][1]
    assert theta.grad is not None
    assert dead == int((theta.grad == 0).sum()) > 0


@pytest.mark.parametrize("length", [24, 512, 600])
def test_dead_coordinates_of_unilora_are_those_without_an_index(length: int) -> None:
    bert = BACKBONES["bert"]
    config = UniLoraConfig(r=4, theta_d_length=length, target_modules=bert.targets)
    adapted = adapt(bert.new(), config, head=bert.head, init_seed=0)
    used = {int(i) for name, b in adapted.model.named_buffers() if "indices" in name for i in b.flatten()}
    assert adapted.dead_coordinates == length - len(used)


@pytest.mark.parametrize(
    ("config", "head", "message"),
    [
        (
            LoraConfig(target_modules=["qury"]),
            ["classifier"],
            r'^method\.config\.target_modules=\["qury"\]: .*accepted: .*key, .*query, .*value',
        ),
        (LoraConfig(target_modules=["query", "valeu"]), ["classifier"], r'target_modules=\["valeu"\]: .*value'),
        (UniLoraConfig(target_modules=".*nothing"), ["classifier"], r"target_modules=\.\*nothing: .*query"),
        (LoraConfig(target_modules=["query"]), ["score"], r"backbone\.head=score: .*bert, dropout, classifier"),
        (GPartConfig(d=9999, target_modules=["query"]), ["classifier"], r"^method\.config\.d=9999: .*N=512"),
        (BitFit(), ["score"], r"backbone\.head=score: .*classifier"),
        (
            PromptTuningConfig(num_virtual_tokens=2),
            ["classifier"],
            r"^method\.config\._target_=peft\.PromptTuningConfig: ",
        ),
        ("lora", ["classifier"], "method.config: 'lora'.*PeftConfig"),
    ],
)
def test_bad_input_is_refused_in_one_line(config: object, head: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        adapt(BACKBONES["bert"].new(), config, head=head, init_seed=0)
    assert "\n" not in str(caught.value)


def test_a_head_that_peft_would_widen_is_refused() -> None:
    distilbert = BACKBONES["distilbert"]
    with pytest.raises(ValueError, match=r"^backbone\.head=\[classifier\]: .*accepted: .*pre_classifier"):
        adapt(distilbert.new(), LoraConfig(target_modules=distilbert.targets), head=["classifier"], init_seed=0)


def test_a_damaged_checkpoint_is_refused_by_name(method: str, tmp_path: Path) -> None:
    bert = BACKBONES["bert"]
    adapted = adapted_to(method, bert)
    adapted.save(tmp_path)
    file = adapted.weights_file(tmp_path)
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(ValueError, match=file.name):
        adapted.reload(bert.new(), tmp_path)
    file.unlink()
    with pytest.raises(ValueError, match="does not exist"):
        adapted.reload(bert.new(), tmp_path)


def test_a_checkpoint_of_another_method_or_backbone_is_refused(tmp_path: Path) -> None:
    bert, mean_pooled = BACKBONES["bert"], BACKBONES["mean_pooled"]
    full = adapted_to("full", bert)
    full.save(tmp_path)
    with pytest.raises(ValueError, match="written for"):
        adapted_to("bitfit", bert).reload(bert.new(), tmp_path)
    with pytest.raises(ValueError, match="does not fit"):
        full.reload(mean_pooled.new(), tmp_path)
    lora = tmp_path / "lora"
    adapted_to("lora", bert).save(lora)
    with pytest.raises(ValueError, match="LORA, not a UNILORA"):
        adapted_to("unilora", bert).reload(bert.new(), lora)


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
def test_an_adapter_of_another_backbone_is_refused(tmp_path: Path) -> None:
    bert, mean_pooled = BACKBONES["bert"], BACKBONES["mean_pooled"]
    lora = adapted_to("lora", bert)
    lora.save(tmp_path)
    with pytest.raises(ValueError, match=r"does not fit this backbone: .*encoder"):
        lora.reload(mean_pooled.new(), tmp_path)
    wide = BertForSequenceClassification(BertConfig(vocab_size=50, **SHAPE | {"hidden_size": 2 * HIDDEN}))
    with pytest.raises(ValueError, match=r"does not fit this backbone: .*size mismatch"):
        lora.reload(wide, tmp_path)


@pytest.mark.parametrize(
    ("config", "theta"),
    [
        (GPartConfig(d=23_040, target_modules=["query", "value"]), 23_040),  # 23K in the GPart paper
        (LoraConfig(r=8, target_modules=["query", "value"]), 294_912),  # 0.295M in the LoRA and Uni-LoRA papers
        (UniLoraConfig(theta_d_length=23_040, target_modules=["query", "value"]), 23_040),  # 0.023M
        (BitFit(), 12 * (7 * 768 + 3_072) + 768),  # 0.1M in the LoRA paper
        (FullFineTuning(), 124_055_040),  # RoBERTa-base's 124,645,632 parameters without the pooler
    ],
)
def test_published_sizes_on_roberta_base(config: object, theta: int) -> None:
    shapes = RobertaConfig(vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1, num_labels=2)
    with torch.device("meta"):
        model = RobertaForSequenceClassification(shapes)
    adapted = adapt(model, config, head=["classifier"], init_seed=0)
    assert adapted.theta == theta
    assert sum(p.numel() for _, p in adapted.head_parameters()) == 592_130
