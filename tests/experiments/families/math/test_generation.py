"""Greedy generation: right by the plainest loop, and the same in batches as alone."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from experiments.families.math import generation
from experiments.families.math.generation import compare_batched, count_ends, generate
from experiments.families.math.generation_vllm import generate_vllm

WORDS = [f"w{number}" for number in range(40)]
PROMPTS = ["w1", "w2 w3 w4 w5 w6 w7 w8", "w9 w9 w1", "w3 w1 w4 w1 w5 w9 w2 w6 w5 w3 w5", "w20 w30"]
LIMITS: dict[str, Any] = {"max_new_tokens": 12, "stop": [], "batch_size": 3, "context": 64}
STORIES = [
    "Once upon a time",
    "Lily and Ben went to the park. They saw a big",
    "The dog",
    "One day, a red ball was sad",
]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A random Llama of large weights: its argmax depends on all that precedes, and never is a special token here."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.6,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(20)
        return LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def stories(shared_data: Path) -> tuple[Any, Any]:
    """A trained Llama of 260,000 weights, with a sentencepiece-like tokenizer with bytes to fall back on."""
    folder = shared_data / "stories260K-llama"
    if not folder.is_dir():
        pytest.skip("stories260K-llama is not among the real data")
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def plain_loop(model: Any, tokenizer: Any, prompt: str, new: int) -> list[int]:
    """Greedy decoding without cache, batch or padding."""
    ids = tokenizer(prompt)["input_ids"]
    start = len(ids)
    while len(ids) < start + new and (len(ids) == start or ids[-1] != tokenizer.eos_token_id):
        ids.append(int(model.eval()(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[start:]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_tokens_are_those_of_the_plain_loop_in_the_order_of_the_prompts(model, tokenizer, batch_size):
    results = generate(model, tokenizer, PROMPTS, **{**LIMITS, "batch_size": batch_size})
    expected = [plain_loop(model, tokenizer, prompt, 12) for prompt in PROMPTS]
    assert [list(result.ids) for result in results] == expected
    assert len({tuple(ids) for ids in expected}) == len(PROMPTS)  # else a wrong order would not show
    assert [result.raw for result in results] == [result.text for result in results]
    assert [result.raw.split() for result in results] == [
        [word for word in tokenizer.convert_ids_to_tokens(ids) if word not in ("<s>", "</s>", "<unk>")]
        for ids in expected
    ]


def test_trained_weights_give_the_plain_loops_text(stories):
    model, tokenizer = stories
    results = generate(model, tokenizer, STORIES, max_new_tokens=24, stop=[], batch_size=4, context=512)
    assert [list(result.ids) for result in results] == [plain_loop(model, tokenizer, text, 24) for text in STORIES]
    assert results[0].text.startswith(", there was a little girl named Lily")
    assert {result.ended for result in results} == {"length"}


def test_end_of_sequence_ends_a_row_and_not_its_neighbours(model, tokenizer):
    longest = [plain_loop(model, tokenizer, prompt, 12) for prompt in PROMPTS]
    # A token that some rows write, and others do not, ends a sequence from now on, beside the tokenizer's own.
    written = [set(ids) for ids in longest]
    chosen = next(token for token in longest[0][2:] if sum(token in row for row in written) in (1, 2))
    model.generation_config.eos_token_id = [2, chosen]
    results = generate(model, tokenizer, PROMPTS, **LIMITS)
    for result, ids in zip(results, longest, strict=True):
        ends = [place for place, token in enumerate(ids) if token in (2, chosen)]
        assert list(result.ids) == (ids[: ends[0] + 1] if ends else ids)
        assert result.ended == ("eos" if ends else "length")
    assert {"eos", "length"} == {result.ended for result in results}


def test_each_prompt_has_the_room_that_the_context_leaves_it(model, tokenizer):
    lengths = [len(tokenizer(prompt)["input_ids"]) for prompt in PROMPTS]
    assert lengths == [2, 8, 4, 12, 3]
    results = generate(model, tokenizer, PROMPTS, **{**LIMITS, "batch_size": 5, "context": 9})
    assert [result.tokens for result in results] == [7, 1, 5, 0, 6]
    assert (results[3].text, results[3].raw, results[3].ended) == ("", "", "no_room")
    assert count_ends(results) == {"stop": 0, "eos": 0, "length": 4, "no_room": 1}
    full = [plain_loop(model, tokenizer, prompt, 12) for prompt in PROMPTS]
    assert all(list(result.ids) == ids[: result.tokens] for result, ids in zip(results, full, strict=True))
    assert [result.ended for result in generate(model, tokenizer, ["w1 w2"], **{**LIMITS, "context": 3})] == ["no_room"]


def test_a_stop_string_ends_the_row_where_the_text_first_holds_it(model, tokenizer):
    free = generate(model, tokenizer, PROMPTS, **LIMITS)
    words = [result.raw.split() for result in free]
    stop = [f"{words[0][4]} {words[0][5]}", words[1][7]]
    results = generate(model, tokenizer, PROMPTS, **{**LIMITS, "stop": stop})
    for result, without in zip(results, free, strict=True):
        places = [place for place in map(without.raw.find, stop) if place >= 0]
        if places:
            assert (result.text, result.ended) == (without.raw[: min(places)], "stop")
            assert list(result.ids) == list(without.ids[: result.tokens])
            assert any(result.raw.endswith(text) for text in stop)
        else:
            assert result == without
    assert {"stop", "length"} == {result.ended for result in results}


def test_of_stop_strings_that_one_token_completes_the_earliest_cuts():
    result = generation.finished("It is 5. [Question", [4, 5, 6], "length", ["Question", "[Question"])
    assert (result.text, result.raw, result.ended) == ("It is 5. ", "It is 5. [Question", "stop")


@pytest.mark.parametrize("stop", [".", " a", "the", "n the", "was a li", "é", "\n", "Lily"])
def test_stop_strings_across_tokens_of_a_sentencepiece_tokenizer(stories, stop):
    model, tokenizer = stories
    limits = {"max_new_tokens": 60, "batch_size": 4, "context": 512}
    free = generate(model, tokenizer, STORIES, stop=[], **limits)
    for result, without in zip(generate(model, tokenizer, STORIES, stop=[stop], **limits), free, strict=True):
        place = without.raw.find(stop)
        assert result.text == (without.raw if place < 0 else without.raw[:place])
        assert result.ended == ("length" if place < 0 else "stop")
        # The last token completed the stop string: without it there is none.
        prompt = tokenizer(STORIES[free.index(without)])["input_ids"]
        assert stop not in generation.continuation(tokenizer, prompt, result.ids[:-1])


def test_a_stop_string_in_the_prompt_alone_does_not_stop(model, tokenizer):
    free = generate(model, tokenizer, ["w1 w2 w3"], **LIMITS)
    absent = next(word for word in WORDS if word not in free[0].raw.split())
    prompt = f"w1 {absent} {absent}"
    (result,) = generate(model, tokenizer, [prompt], **{**LIMITS, "stop": [f"{absent} {absent}"]})
    assert result.tokens == 12 or result.ended == "eos"
    assert list(result.ids) == plain_loop(model, tokenizer, prompt, 12)


def test_bytes_that_make_one_character_are_decoded_together(stories):
    _, tokenizer = stories
    prompt, answer = tokenizer("It is")["input_ids"], tokenizer("It is 5 \u20bf")["input_ids"]
    assert answer[: len(prompt)] == prompt
    answer = answer[len(prompt) :]
    assert len(answer) > 4  # the sign takes several tokens
    assert generation.continuation(tokenizer, prompt, answer) == " 5 \u20bf"
    assert tokenizer.decode(answer) == "5 \u20bf"  # alone, they lose the space


def test_what_the_model_says_about_sampling_is_ignored_without_a_warning(model, tokenizer):
    expected = generate(model, tokenizer, PROMPTS, **LIMITS)
    own = model.generation_config
    own.update(do_sample=True, temperature=0.7, top_k=3, top_p=0.5, repetition_penalty=5.0, no_repeat_ngram_size=1)
    own.update(max_length=3, num_beams=2)
    lines: list[str] = []
    handler = SimpleNamespace(level=0, handle=lambda record: lines.append(record.getMessage()))
    root = logging.get_logger("transformers")
    logging.get_logger("transformers.generation.stopping_criteria").warning_once.cache_clear()
    root.addHandler(handler)  # type: ignore[arg-type]
    try:
        # Padded columns reach beyond the 64 positions that the model has, positions do not.
        long = " ".join(WORDS[:30] * 2)
        assert generate(model, tokenizer, PROMPTS, **LIMITS) == expected
        ends = generate(model, tokenizer, [long, "w1"], **{**LIMITS, "max_new_tokens": 60})
        assert [end.tokens for end in ends] == [3, 60]
    finally:
        root.removeHandler(handler)  # type: ignore[arg-type]
    assert lines == []
    assert model.generation_config is own
    assert own.temperature == 0.7


@pytest.mark.parametrize("training", [True, False])
def test_the_model_keeps_its_mode_and_an_adapter_is_used(model, tokenizer, training):
    config = LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"], init_lora_weights=False, lora_dropout=0.5
    )
    plain = generate(model, tokenizer, PROMPTS, **LIMITS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapted = get_peft_model(model, config)
    adapted.train(training)
    results = generate(adapted, tokenizer, PROMPTS, **LIMITS)
    assert adapted.training is training
    assert [list(r.ids) for r in results] == [plain_loop(adapted, tokenizer, prompt, 12) for prompt in PROMPTS]
    assert results != plain


@pytest.mark.parametrize("training", [True, False])
def test_a_failure_leaves_mode_and_configuration_as_they_were(model, tokenizer, training, monkeypatch):
    own = model.generation_config
    monkeypatch.setattr(model, "forward", lambda **_: 1 / 0)
    model.train(training)
    with pytest.raises(ZeroDivisionError):
        generate(model, tokenizer, PROMPTS, **LIMITS)
    assert model.training is training
    assert model.generation_config is own


def test_wrong_settings_are_refused(model, tokenizer):
    for wrong in ({"max_new_tokens": 0}, {"context": 0}, {"batch_size": 0}, {"stop": ["w1", ""]}):
        with pytest.raises(ValueError, match=r"expected at least 1|empty stop string"):
            generate(model, tokenizer, PROMPTS, **{**LIMITS, **wrong})
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    with pytest.raises(ValueError, match="prompt 1 has no tokens"):
        generate(model, tokenizer, ["w1", ""], **LIMITS)
    assert generate(model, tokenizer, [], **LIMITS) == []


def test_batches_write_the_same_as_one_at_a_time(model, tokenizer):
    compared = compare_batched(model, tokenizer, PROMPTS * 3, **{**LIMITS, "batch_size": 4, "stop": ["w7 w7"]})
    assert compared.identical + compared.differing == 15
    assert compared.differing == len(compared.gaps)
    assert compared.largest_gap < 1e-4


def test_batches_write_the_same_as_one_at_a_time_with_trained_weights(stories):
    compared = compare_batched(*stories, STORIES * 2, max_new_tokens=48, stop=["Tom"], batch_size=8, context=512)
    assert compared.identical + compared.differing == 8
    assert compared.largest_gap < 1e-4


def test_a_comparison_measures_the_gap_where_two_generations_part(model, tokenizer, monkeypatch):
    real = generation.generate
    ids = plain_loop(model, tokenizer, PROMPTS[1], 12)
    prompt = tokenizer(PROMPTS[1])["input_ids"]
    logits = model(torch.tensor([[*prompt, *ids[:5]]])).logits[0, -1].detach()
    second = int(logits.topk(2).indices[1])

    def faulty(*arguments: Any, batch_size: int, **options: Any) -> list[Any]:
        results = real(*arguments, batch_size=batch_size, **options)
        if batch_size > 1:
            wrong = (*ids[:5], second, *ids[6:])
            results[1] = generation.Generation("", "", wrong, "length")
            results[2] = generation.Generation("", "", results[2].ids[:4], "length")
        return results

    monkeypatch.setattr(generation, "generate", faulty)
    compared = compare_batched(model, tokenizer, PROMPTS, **LIMITS)
    assert (compared.identical, compared.differing) == (3, 2)
    assert compared.gaps[0] == pytest.approx(float(logits.max() - logits[second]), rel=1e-4)
    assert compared.gaps[0] > 1e-3
    assert compared.gaps[1] == compared.largest_gap == math.inf


def test_what_is_handed_to_vllm_and_made_of_its_answers(model, tokenizer, monkeypatch):
    seen: dict[str, Any] = {}

    class Engine:
        def __init__(self, **options: Any) -> None:
            seen.update(options, files={path.name for path in Path(options["model"]).iterdir()})

        def generate(self, prompts: list[Any], parameters: list[Any]) -> list[Any]:
            seen.update(prompts=prompts, parameters=parameters)
            answers = [("w5 w6 Question", [8, 9, 3], "stop"), ("w7", [10, 2], "stop"), ("w8", [11], "length")]
            return [
                SimpleNamespace(outputs=[SimpleNamespace(text=text, token_ids=ids, finish_reason=reason)])
                for text, ids, reason in answers
            ]

    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = Engine, SimpleNamespace  # type: ignore[attr-defined]
    module.__spec__ = SimpleNamespace(name="vllm")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "vllm", module)
    prompts = ["w1", "w1 w2 w3 w4 w5 w6 w7", "w2 w2", "w3 w3 w3 w3"]
    results = generate_vllm(model, tokenizer, prompts, max_new_tokens=4, stop=["Question"], context=8)
    assert [(r.text, r.tokens, r.ended) for r in results] == [
        ("w5 w6 ", 3, "stop"),
        ("", 0, "no_room"),
        ("w7", 2, "eos"),
        ("w8", 1, "length"),
    ]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= seen["files"]
    assert seen["max_model_len"] == 8
    assert [p.max_tokens for p in seen["parameters"]] == [4, 4, 3]
    assert {p.temperature for p in seen["parameters"]} == {0.0}
    assert seen["prompts"][0] == {"prompt_token_ids": [1, 4]}
