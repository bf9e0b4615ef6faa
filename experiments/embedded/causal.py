"""A tiny Llama-type language model, pretrained on generated text about quantities, arithmetic and changes.

The text holds everything that a word problem needs, but never a problem with its worked solution: equations, stories
that state every intermediate quantity, accounts of stories in another notation, questions about what is stated, and
headings that begin with `####`. What fine-tuning adds is to answer a question by an account, in the notation of the
equations, and to end with the result. Attention starts from tied query and key, value and output projections (mimetic
initialisation, arXiv 2305.09828), with which numbers are found in a story after fewer steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.embedded.arithmetic import GENERATOR_VERSION, LARGEST, Cast, Step, steps_of, story
from experiments.embedded.cache import made_once, recipe_digest, reproducible
from experiments.embedded.descent import descent
from experiments.embedded.language import Draw

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

RECIPE: dict[str, Any] = {
    "seed": 20260514,
    "threads": 1,  # fixed, whatever the caller's count: another count sums in another order and gives other weights
    "documents": 60_000,
    "steps": 1_800,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "betas": [0.9, 0.98],
    "warmup_ratio": 0.04,
    "decay_ratio": 0.3,  # warm-up, constant rate, linear decay (MiniCPM, arXiv 2404.06395, section 4)
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "architecture": {
        "vocab_size": 93,
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128,
        "initializer_range": 0.12,  # about 1 / sqrt(hidden_size); the usual 0.02 suits 2048
        "tie_word_embeddings": False,
    },
}
"""Everything that decides the model's weights besides the generator version; its hash names the cached folder."""

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
BOS, PAD, EOS, UNK = range(4)


def recipe_hash() -> str:
    """The identity of the language model: sha256 of the generator version and the pretraining recipe."""
    return recipe_digest(GENERATOR_VERSION, RECIPE)


def folder(cache: Path | None = None) -> Path:
    """The folder of the pretrained language model in Hugging Face format; pretrains it where it is not cached yet."""
    return made_once(f"causal-{recipe_hash()[:16]}", _pretrain, cache)


def document(draw: Draw) -> str:
    """One document of the pretraining text."""
    kind = draw.below(20)
    if kind < 4:
        return _equations(draw)
    if kind < 5:
        return _heading(draw)
    if kind < 9:
        return _chronicle(draw)
    if kind < 19:
        return _account(draw)
    return _short_answer(draw)


def _step(draw: Draw) -> Step:
    return Step.product(draw) if draw.chance(0.2) else Step.draw(draw, 1 + draw.below(LARGEST))


def _equations(draw: Draw) -> str:
    """Equations, each on its own or beginning with the result of the one before."""
    chained = draw.chance(0.5)
    steps = [_step(draw)]
    for _ in range(4):
        steps.append(Step.draw(draw, steps[-1].result) if chained else _step(draw))
    return " , ".join(str(step) for step in steps)


def _heading(draw: Draw) -> str:
    """A number as heading, and sums that give it."""
    total = 1 + draw.below(LARGEST)
    terms = []
    for _ in range(3):
        step = Step.draw(draw, total)
        terms.append(f"{step.result} {'-' if step.sign == '+' else '+'} {step.right}")
    return f"#### {total} : " + " , ".join(terms)


def _chronicle(draw: Draw) -> str:
    """A story in which the owner's quantity is stated after every clause that changes it."""
    cast = Cast.draw(draw)
    words = []
    for clause in story(draw, cast, 1 + draw.below(4)):
        words.append(f"{clause.text} .")
        if clause.step:
            words.append(f"so {cast.owner} has {clause.step.result} {cast.thing} .")
    return " ".join(words)


_NAMES = {"+": "plus", "-": "minus", "*": "times"}


def _account(draw: Draw) -> str:
    """A story and its account: what to reckon, in words, with the results."""
    cast = Cast.draw(draw)
    clauses = story(draw, cast, 1 + draw.below(4))
    told = "".join(f"{clause.text} . " for clause in clauses)
    lines = [f"{gist} : {s.left} {_NAMES[s.sign]} {s.right} makes {s.result}" for gist, s in steps_of(clauses)]
    return f"{told}{cast.owner} counts the {cast.thing} . " + " , ".join(lines)


def _short_answer(draw: Draw) -> str:
    """A question about something that is stated, answered at once."""
    cast, count = Cast.draw(draw), 2 + draw.below(LARGEST - 1)
    stated = [f"{cast.owner} has {count} {cast.thing} ."]
    for owner, thing in ((cast.other, cast.thing), (cast.owner, cast.clutter), (cast.bystander, cast.clutter)):
        if draw.chance(0.5):
            stated.append(f"{owner} has {2 + draw.below(LARGEST - 1)} {thing} .")
    question = f"how many {cast.thing} does {cast.owner} have now ? {count} {cast.thing} ."
    return " ".join([*draw.shuffled(stated), question])


def _pretrain(folder: Path) -> None:
    """Train the language model by RECIPE and write it, with its tokenizer, into `folder`."""
    from transformers import PreTrainedTokenizerFast

    draw = Draw(RECIPE["seed"])
    documents = [document(draw) for _ in range(RECIPE["documents"])]
    tokenizer = _tokenizer(documents)
    encoded = tokenizer.encode_batch(documents)
    with reproducible(RECIPE["seed"], RECIPE["threads"]):
        model = _language_model(tokenizer.get_vocab_size())
        _train(model, [[*encoding.ids, EOS] for encoding in encoded])
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=RECIPE["architecture"]["max_position_embeddings"],
    ).save_pretrained(folder)


def _tokenizer(documents: list[str]) -> Tokenizer:
    """One token per word, sign or number; a text begins with `<s>`, and only a document ends with `</s>`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {word for text in documents for word in text.split()}
    vocabulary = {word: index for index, word in enumerate((*SPECIAL, *sorted(words)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return tokenizer


def _language_model(vocabulary: int) -> LlamaForCausalLM:
    """The model before training; query and key, value and output projections start out tied (see the module's text).

    Raises:
        RuntimeError: if the text has another number of words than the recipe says.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if vocabulary != RECIPE["architecture"]["vocab_size"]:
        raise RuntimeError(f"the text has {vocabulary} tokens, RECIPE says {RECIPE['architecture']['vocab_size']}")
    ids = {"bos_token_id": BOS, "pad_token_id": PAD, "eos_token_id": EOS}
    model = LlamaForCausalLM(LlamaConfig(**ids, **RECIPE["architecture"]))
    with torch.no_grad():
        for layer in model.model.layers:
            attention = layer.self_attn
            attention.k_proj.weight.copy_(attention.q_proj.weight)
            attention.o_proj.weight.copy_(attention.v_proj.weight.T)
    return model


def _train(model: LlamaForCausalLM, documents: list[list[int]]) -> None:
    """AdamW with warm-up, constant rate and linear decay; the loss is the mean over every token after the first."""
    import torch
    from transformers.utils.logging import tqdm

    steps, step = RECIPE["steps"], descent(model, RECIPE)
    progress = tqdm(
        _batches(documents), total=steps, desc="pretraining the embedded language model (once)", unit="step"
    )
    for tokens in progress:
        logits = model(tokens[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=PAD)
        step(loss)
        progress.set_postfix(loss=f"{loss.item():.2f}", refresh=False)


def _batches(documents: list[list[int]]) -> Iterator[torch.Tensor]:
    """Padded token ids (batch, length), RECIPE["steps"] times; batches hold documents of similar length, for speed."""
    import torch

    size, window = RECIPE["batch_size"], 8
    for start in range(0, RECIPE["steps"], window):
        chosen = torch.randint(len(documents), (window * size,)).tolist()
        chosen.sort(key=lambda index: len(documents[index]))
        for place in torch.randperm(window).tolist()[: RECIPE["steps"] - start]:
            batch = [torch.tensor(documents[index]) for index in chosen[place * size : (place + 1) * size]]
            yield torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=PAD)
