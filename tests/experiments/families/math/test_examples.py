"""Examples for a causal language model: what is learnt, what is cut, and packing that changes no loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from experiments.families.math import examples
from experiments.families.math.examples import IGNORED, PackedCollator, PaddingCollator, encode, pack, padding_id

WORDS = [f"w{number}" for number in range(40)]
PAIRS = [
    ("w1 w2 w3", " w4 w5"),
    ("w6", " w7"),
    ("w8 w9", " w8 w7 w6 w5 w4"),
    ("w1 w1 w1 w1 w1 w1", " w2"),
    ("w3", " w3"),
]


def word_tokenizer(template: str = "<s> $A") -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("<s>", 1), ("</s>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer()


@pytest.fixture(params=["sdpa", "eager"])
def model(request: pytest.FixtureRequest) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(WORDS) + 3,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.6,
        attn_implementation=request.param,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


def ids(text: str) -> list[int]:
    return [{"<s>": 1, "</s>": 2}.get(word) or int(word[1:]) + 3 for word in text.split()]


def unpacked_loss(model: Any, dataset: Any) -> float:
    """The mean loss of all learnt tokens, one example at a time, without padding."""
    total, count = 0.0, 0
    for row in dataset:
        tokens, labels = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"])
        with torch.no_grad():
            scores = model(input_ids=tokens, use_cache=False).logits[0, :-1].log_softmax(-1)
        chosen = (labels[1:] != IGNORED).nonzero().flatten()
        total -= float(scores[chosen, labels[1:][chosen]].sum())
        count += len(chosen)
    return total / count


def loss(model: Any, batch: dict[str, Any]) -> float:
    with torch.no_grad():
        return float(model(**batch).loss)


def test_only_the_response_is_learnt_by_default(tokenizer):
    dataset, report = encode(PAIRS[:2], tokenizer, context=32)
    assert dataset.column_names == ["input_ids", "labels"]
    assert dataset["input_ids"][:] == [ids("<s> w1 w2 w3 w4 w5 </s>"), ids("<s> w6 w7 </s>")]
    assert dataset["labels"][:] == [[IGNORED] * 4 + ids("w4 w5 </s>"), [IGNORED] * 2 + ids("w7 </s>")]
    assert report.as_record() == {
        "loss": "response",
        "keep": "last",
        "context": 32,
        "pairs": 2,
        "longer_than_context": 0,
        "longest": 7,
        "left_out": 0,
        "split_at_prompt": 0,
        "tokens": 11,
        "learnt_tokens": 5,
    }


def test_the_whole_text_is_learnt_but_for_its_first_token(tokenizer):
    dataset, report = encode(PAIRS[:1], tokenizer, context=32, loss="text")
    assert dataset["labels"][0] == [IGNORED, *ids("w1 w2 w3 w4 w5 </s>")]
    assert (report.loss, report.tokens, report.learnt_tokens) == ("text", 7, 6)


@pytest.mark.parametrize(
    ("keep", "loss", "texts", "learnt"),
    [
        ("last", "response", ["w3 w4 w5 </s>", "<s> w6 w7 </s>", "w6 w5 w4 </s>"], [3, 2, 3]),
        ("last", "text", ["w3 w4 w5 </s>", "<s> w6 w7 </s>", "w6 w5 w4 </s>"], [3, 3, 3]),
        ("first", "text", ["<s> w1 w2 w3", "<s> w6 w7 </s>", "<s> w8 w9 w8"], [3, 3, 3]),
        ("first", "response", ["<s> w6 w7 </s>", "<s> w8 w9 w8"], [2, 1]),
    ],
)
def test_longer_examples_are_cut_on_one_side_and_counted(tokenizer, keep, loss, texts, learnt):
    dataset, report = encode(PAIRS[:3], tokenizer, context=4, keep=keep, loss=loss)
    assert dataset["input_ids"][:] == [ids(text) for text in texts]
    assert [sum(label != IGNORED for label in row) for row in dataset["labels"]] == learnt
    for row in dataset:
        assert all(label in (IGNORED, token) for token, label in zip(row["input_ids"], row["labels"], strict=True))
    assert (report.longer_than_context, report.longest, report.pairs) == (2, 9, 3)
    assert report.left_out == 3 - len(texts)
    assert (report.tokens, report.learnt_tokens) == (4 * len(texts), sum(learnt))


def test_an_example_as_long_as_the_context_is_not_cut(tokenizer):
    assert encode(PAIRS[:1], tokenizer, context=7)[1].longer_than_context == 0
    assert encode(PAIRS[:1], tokenizer, context=6)[1].longer_than_context == 1


def test_the_sequence_ends_once_and_the_prompt_does_not(tokenizer):
    expected = encode(PAIRS, tokenizer, context=32)[0].to_list()
    ending = word_tokenizer("<s> $A </s>")
    assert encode(PAIRS, ending, context=32)[0].to_list() == expected
    assert examples.token_ids(ending, ["w1 w2", ""]) == [ids("<s> w1 w2"), ids("<s>")]
    assert examples.token_ids(word_tokenizer("$A </s>"), ["w1", ""]) == [ids("w1"), ids("</s>")]


def test_a_prompt_is_tokenized_as_for_generation_even_where_the_response_would_join_it(tokenizer):
    dataset, report = encode([("w1 w", "2 w3"), ("w1", " w2")], tokenizer, context=32)
    assert dataset["input_ids"][0] == [*examples.token_ids(tokenizer, ["w1 w"])[0], 0, *ids("w3 </s>")]
    assert dataset["labels"][0] == [IGNORED] * 3 + [0, *ids("w3 </s>")]
    assert report.split_at_prompt == 1


def test_wrong_settings_are_refused(tokenizer):
    for wrong in ({"loss": "all"}, {"keep": "middle"}, {"context": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            encode(PAIRS, tokenizer, **{"context": 32, **wrong})
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="no end-of-sequence token"):
        encode(PAIRS, tokenizer, context=32)


def test_padding_is_to_the_longest_of_the_batch_and_changes_no_loss(tokenizer, model):
    dataset, _ = encode(PAIRS, tokenizer, context=32)
    batch = PaddingCollator(padding_id(tokenizer))(dataset.select([1, 4]).to_list())
    assert {name: tuple(part.shape) for name, part in batch.items()} == dict.fromkeys(batch, (2, 4))
    batch = PaddingCollator(padding_id(tokenizer))(dataset.to_list())
    assert batch["input_ids"].tolist()[1] == ids("<s> w6 w7 </s>") + [2] * 5
    assert batch["attention_mask"].tolist()[1] == [1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert batch["labels"].tolist()[1] == [IGNORED, IGNORED, *ids("w7 </s>")] + [IGNORED] * 5
    assert loss(model, batch) == pytest.approx(unpacked_loss(model, dataset), abs=1e-5)


def test_rows_are_filled_and_every_example_is_in_one_of_them(tokenizer):
    dataset, _ = encode(PAIRS, tokenizer, context=32)
    assert [len(row) for row in dataset["input_ids"]] == [7, 4, 9, 9, 4]
    packed = pack(dataset, 13)
    assert [len(row) for row in packed["input_ids"]] == [11, 13, 9]
    assert packed["position_ids"][0] == [*range(7), *range(4)]
    assert packed["input_ids"][1] == ids("<s> w8 w9 w8 w7 w6 w5 w4 </s> <s> w3 w3 </s>")
    pieces = []
    for row in packed:
        starts = [place for place, position in enumerate(row["position_ids"]) if position == 0]
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            pieces.append({"input_ids": row["input_ids"][start:end], "labels": row["labels"][start:end]})
    assert sorted(map(str, pieces)) == sorted(map(str, dataset.to_list()))
    assert [len(row) for row in pack(dataset, 10)["input_ids"]] == [7, 8, 9, 9]
    with pytest.raises(ValueError, match="example of 9 tokens"):
        pack(dataset, 8)


def test_no_example_in_a_row_is_learnt_from_the_one_before():
    whole = [{"input_ids": [4, 5, 6], "labels": [4, 5, 6]}, {"input_ids": [7, 8], "labels": [7, 8]}]
    assert pack(datasets.Dataset.from_list(whole), 5)["labels"][:] == [[IGNORED, 5, 6, IGNORED, 8]]


@pytest.mark.parametrize("what", ["response", "text"])
def test_packed_rows_have_the_loss_of_their_examples(tokenizer, model, what):
    dataset, _ = encode(PAIRS * 2, tokenizer, context=32, loss=what)
    packed = pack(dataset, 20)
    assert 1 < len(packed) < len(dataset) / 2
    batch = PackedCollator(padding_id(tokenizer))(packed.to_list())
    assert len({len(row) for row in packed["input_ids"]}) > 1  # so that some rows are padded
    expected = unpacked_loss(model, dataset)
    assert loss(model, batch) == pytest.approx(expected, abs=1e-5)
    # The same number would come out of a model that ignores what precedes a token; this one does not.
    assert abs(loss(model, {**batch, "position_ids": None}) - expected) > 1e-2
    assert abs(loss(model, {**batch, "use_cache": True}) - expected) > 1e-2


def test_packed_rows_train_as_padded_batches_do(tokenizer, model, tmp_path):
    """Through Trainer, gradient checkpointing and an adapter: the same weights after two accumulated steps."""
    dataset, _ = encode(PAIRS * 2, tokenizer, context=32)
    start = {name: value.clone() for name, value in model.state_dict().items()}

    def trained(rows: Any, collator: Any) -> dict[str, torch.Tensor]:
        model.load_state_dict(start)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False))
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=1,
            gradient_accumulation_steps=len(rows),
            max_steps=2,
            learning_rate=0.01,
            optim="sgd",
            max_grad_norm=0,
            activation_checkpointing=True,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        )
        Trainer(model=adapted, args=arguments, train_dataset=rows, data_collator=collator).train()
        weights = {name: value.detach().clone() for name, value in adapted.named_parameters() if value.requires_grad}
        adapted.unload()
        return weights

    pad = padding_id(tokenizer)
    padded, packed = trained(dataset, PaddingCollator(pad)), trained(pack(dataset, 20), PackedCollator(pad))
    moved = trained(dataset.select(range(5, 8)), PaddingCollator(pad))
    differences = [float((padded[name] - packed[name]).abs().max()) for name in padded]
    assert max(differences) < 1e-5
    assert max(float((padded[name] - moved[name]).abs().max()) for name in padded) > 1e-3


def test_real_weights_pack_without_a_change_of_loss(shared_data: Path):
    folder = shared_data / "stories260K-llama"
    if not folder.is_dir():
        pytest.skip("stories260K-llama is not among the real data")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    pairs = [
        (f"Question: Lily has {number} red balls and finds {number + 2} more. How many?\nAnswer:", f" {2 * number + 2}")
        for number in range(1, 12, 3)
    ] + [("Question: What is in the box?\nAnswer:", " A cat. It cost 5 \u20ac.")]
    dataset, report = encode(pairs, tokenizer, context=256)
    assert (report.pairs, report.longer_than_context, report.split_at_prompt) == (5, 0, 0)
    for (prompt, response), row in zip(pairs, dataset, strict=True):
        learnt = [label for label in row["labels"] if label != IGNORED]
        assert tokenizer.decode(row["input_ids"], skip_special_tokens=True) == prompt + response
        assert tokenizer.decode(learnt, skip_special_tokens=True) == response.strip()
        assert learnt[-1] == tokenizer.eos_token_id
    packed = pack(dataset, 256)
    assert len(packed) < len(dataset)
    batch = PackedCollator(padding_id(tokenizer))(packed.to_list())
    assert loss(model, batch) == pytest.approx(unpacked_loss(model, dataset), abs=1e-5)
