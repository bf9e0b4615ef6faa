"""A tiny RoBERTa-type encoder, pretrained by masked language modelling on text of the generated language.

Masks are drawn anew in every step; of the chosen tokens 80 % become `<mask>`, 10 % a random token, 10 % stay (RoBERTa,
arXiv 1907.11692, sections 3.1 and 4.1). A document holds a sentence or, as natural text does, two that follow from each
other: a restatement, a contrast, an answer, a consequence. Of two sentences one is masked heavily and the other hardly,
so that the one must be read to complete the other (the aim of XLM's translation language modelling, arXiv 1901.07291);
at times the word that links them is masked instead (discourse markers as supervision: DisSent, arXiv 1710.04334).
With 4 million tokens no more can be left to chance: attention starts from tied query and key, value and output
projections (mimetic initialisation, arXiv 2305.09828), without which matching across sentences does not form in time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.embedded.cache import made_once, recipe_digest, reproducible
from experiments.embedded.descent import descent
from experiments.embedded.language import Draw, Event, Habit, Opinion
from experiments.embedded.tasks import GENERATOR_VERSION

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import RobertaForMaskedLM

RECIPE: dict[str, Any] = {
    "seed": 20260514,
    "threads": 1,  # `cache.reproducible` says why it is fixed
    "documents": 60_000,
    "steps": 5_000,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "betas": [0.9, 0.98],  # RoBERTa, section 3.1
    "warmup_ratio": 0.04,
    "decay_ratio": 0.3,  # warm-up, constant rate, linear decay (MiniCPM, arXiv 2404.06395, section 4)
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "mask_probability": {"single": 0.25, "completed": 0.5, "given": 0.05, "marker": 0.4},
    "architecture": {
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "max_position_embeddings": 66,
        "type_vocab_size": 1,
        "initializer_range": 0.12,  # about 1 / sqrt(hidden_size); the usual 0.02 suits 768
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
}
"""Everything that decides the encoder's weights besides the generator version; its hash names the cached folder."""

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
"""RoBERTa's special tokens, with its ids 0 to 3; `<mask>` takes 4."""
BOS, PAD, EOS, UNK, MASK = range(5)
MARKERS = ("indeed", "instead")
"""The words that say how the second sentence stands to the first; their ids follow the special tokens'."""

Document = tuple[str, str] | tuple[str]


def recipe_hash() -> str:
    """The identity of the encoder: sha256 of the generator version and the pretraining recipe."""
    return recipe_digest(GENERATOR_VERSION, RECIPE)


def folder(cache: Path | None = None) -> Path:
    """The folder of the pretrained encoder in Hugging Face format; pretrains it where `cache` does not hold it yet.

    `cache` is by default $GPART_CACHE or else ~/.cache/gpart-suite. One process pretrains, others wait for it. The
    folder appears under its final name only when complete. torch's global generator and settings stay as they were.
    """
    return made_once(f"encoder-{recipe_hash()[:16]}", _pretrain, cache)


def document(draw: Draw) -> Document:
    """One document of the pretraining text: a sentence, or two that follow from each other."""
    kind = draw.below(20)
    if kind < 11:
        event = Event.draw(draw)
        if draw.chance(0.2):
            return (sentence := event.say(draw)), "indeed , " + sentence
        if draw.chance(0.6):
            return event.say(draw), "indeed , " + event.say(draw)
        other = event.altered(draw, draw.choice(("agent", "action", "patient", "roles", "negation")))
        return event.say(draw), "instead , " + other.say(draw)
    if kind < 17:
        opinion = Opinion.draw(draw)
        return opinion.say(draw), opinion.follow(draw)
    if kind < 18:
        return (Habit.draw(draw).say(draw),)
    event, role = Event.draw(draw, negated=0.0), draw.choice(("agent", "patient"))
    return event.ask(draw, role), event.say(draw) if draw.chance(0.5) else event.ask(draw, role)


def _pretrain(folder: Path) -> None:
    """Train the encoder by RECIPE and write it, with its tokenizer, into `folder`."""
    from transformers import PreTrainedTokenizerFast

    draw = Draw(RECIPE["seed"])
    documents = [document(draw) for _ in range(RECIPE["documents"])]
    tokenizer = _tokenizer(documents)
    encoded = tokenizer.encode_batch([text if len(text) == 2 else text[0] for text in documents])
    with reproducible(RECIPE["seed"], RECIPE["threads"]):
        model = _masked_language_model(tokenizer.get_vocab_size())
        _train(model, [encoding.ids for encoding in encoded])
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token="<mask>",
        model_max_length=RECIPE["architecture"]["max_position_embeddings"] - PAD - 1,
    ).save_pretrained(folder)


def _tokenizer(documents: list[Document]) -> Tokenizer:
    """One token per word of the text, framed as in RoBERTa: `<s> A </s>`, `<s> A </s></s> B </s>`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {word for text in documents for sentence in text for word in sentence.split()}
    vocabulary = {word: index for index, word in enumerate((*SPECIAL, *MARKERS, *sorted(words.difference(MARKERS))))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    return tokenizer


def _masked_language_model(vocabulary: int) -> RobertaForMaskedLM:
    """The model before training; query and key, value and output projections start out tied."""
    import torch
    from transformers import RobertaConfig, RobertaForMaskedLM

    ids = {"bos_token_id": BOS, "pad_token_id": PAD, "eos_token_id": EOS}
    model = RobertaForMaskedLM(RobertaConfig(vocab_size=vocabulary, **ids, **RECIPE["architecture"]))
    with torch.no_grad():
        for layer in model.roberta.encoder.layer:
            attention = layer.attention
            attention.self.key.weight.copy_(attention.self.query.weight)
            attention.output.dense.weight.copy_(attention.self.value.weight.T)
    return model


def _train(model: RobertaForMaskedLM, documents: list[list[int]]) -> None:
    """AdamW with warm-up, constant rate and linear decay; the loss is computed at the chosen tokens alone."""
    import torch
    from transformers.utils.logging import tqdm

    steps, step = RECIPE["steps"], descent(model, RECIPE)
    progress = tqdm(_batches(documents), total=steps, desc="pretraining the embedded encoder (once)", unit="step")
    for tokens in progress:
        inputs, chosen = _mask(tokens, model.config.vocab_size)
        states = model.roberta(inputs, attention_mask=(tokens != PAD).long()).last_hidden_state
        loss = torch.nn.functional.cross_entropy(model.lm_head(states[chosen]), tokens[chosen])
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


def _mask(tokens: torch.Tensor, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The corrupted input and the boolean map of the tokens to predict, both (batch, length)."""
    import torch

    probability = RECIPE["mask_probability"]
    ends = tokens == EOS
    paired = ends.sum(dim=1, keepdim=True) > 1
    completed = (ends.cumsum(dim=1) > 0) ^ (torch.rand(len(tokens), 1) < 0.5)
    marker = (tokens >= len(SPECIAL)) & (tokens < len(SPECIAL) + len(MARKERS))
    judged = marker.any(dim=1, keepdim=True) & (torch.rand(len(tokens), 1) < probability["marker"])
    rates = torch.where(completed & ~judged, probability["completed"], probability["given"])
    rates = torch.where(paired, rates, probability["single"])
    rates = rates.masked_fill(marker & judged, 1.0)
    chosen = (torch.rand(tokens.shape) < rates) & (tokens >= len(SPECIAL))
    fate = torch.rand(tokens.shape)
    inputs = tokens.masked_fill(chosen & (fate < 0.8), MASK)
    anything = torch.randint(len(SPECIAL), vocabulary, tokens.shape)
    return torch.where(chosen & (fate >= 0.9), anything, inputs), chosen
