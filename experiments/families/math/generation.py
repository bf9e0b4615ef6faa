"""Greedy generation in batches, with stop strings and the limits of the context.

`generate` uses transformers; `generation_vllm` is the same with vLLM. Greedy means the argmax of the model's logits and
nothing else: sampling settings, penalties and forced tokens of a model's own `generation_config` are ignored; only its
end-of-sequence ids are kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

import torch
from peft import PeftModel
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation import StoppingCriteria, StoppingCriteriaList
from transformers.utils import logging

from experiments.families.math.examples import padding_id, token_ids

Ended = Literal["stop", "eos", "length", "no_room"]


class Limits(TypedDict):
    """What ends a generation."""

    max_new_tokens: int
    stop: Sequence[str]
    context: int


@dataclass(frozen=True)
class Generation:
    """What a model wrote after one prompt.

    Attributes:
        text: the answer, cut before the first stop string.
        raw: everything that was generated, the stop string and what its last token adds to it included.
        ids: the generated token ids, an end of sequence included.
        ended: "stop" at a stop string, "eos" at an end of sequence, "length" at `max_new_tokens` or where the context
            is full, "no_room" where the prompt alone fills the context, so that nothing was generated.
    """

    text: str
    raw: str
    ids: tuple[int, ...]
    ended: Ended

    @property
    def tokens(self) -> int:
        """Number of generated tokens."""
        return len(self.ids)


@dataclass(frozen=True)
class Comparison:
    """Batched against one at a time.

    Attributes:
        identical: number of prompts with the same tokens either way.
        differing: number of the others.
        gaps: for each of the others, the gap between the logits at the first differing token; infinite where one
            generation merely goes on longer than the other, which rounding cannot explain.
    """

    identical: int
    differing: int
    gaps: tuple[float, ...]

    @property
    def largest_gap(self) -> float:
        """The largest gap, 0 where nothing differs."""
        return max(self.gaps, default=0.0)

    @property
    def by_rounding(self) -> bool:
        """Whether rounding explains every difference: two logits closer than 1e-4, in float32."""
        return self.largest_gap < 1e-4


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    stop: Sequence[str],
    batch_size: int,
    context: int,
) -> list[Generation]:
    """Generate with transformers: a key-value cache and left padding, prompts of similar length together.

    Args:
        model: a causal language model, also a `PeftModel`; its mode and `generation_config` are the same afterwards.
        tokenizer: the model's; a missing padding token is made up for.
        prompts: whole prompts, each of at least one token.
        max_new_tokens: the most tokens of one answer; less where `context` leaves less after the prompt.
        stop: strings that end an answer.
        batch_size: prompts at a time.
        context: tokens that prompt and answer may take together.

    Returns:
        One generation per prompt, in the order of the prompts.

    Raises:
        ValueError: a prompt without tokens, an empty stop string, or a number that is not positive.
    """
    encoded, limits, results = prepared(tokenizer, prompts, max_new_tokens, stop, context)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: expected at least 1")
    # The longest first: a batch that does not fit into memory fails at once.
    order = sorted((i for i in range(len(prompts)) if limits[i] > 0), key=lambda i: -len(encoded[i]))
    with (
        _inference(model),
        _greedy(model, tokenizer) as config,
        logging.tqdm(total=len(order), desc="Generating") as bar,
    ):
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            ends = _batch(model, tokenizer, config, [encoded[i] for i in rows], [limits[i] for i in rows], stop)
            for i, (ids, ended) in zip(rows, ends, strict=True):
                results[i] = finished(continuation(tokenizer, encoded[i], ids), ids, ended, stop)
            bar.update(len(rows))
    return results


def count_ends(generations: Sequence[Generation]) -> dict[str, int]:
    """How many generations ended in each way, zeros included."""
    counts = Counter(generation.ended for generation in generations)
    return {ended: counts[ended] for ended in get_args(Ended)}


def compare_batched(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    stop: Sequence[str],
    batch_size: int,
    context: int,
) -> Comparison:
    """Generate in batches and one at a time, and look at the logits where the two part.

    The common prefix is fed once, without padding or cache. The gap is how far the lower of the two tokens' logits lies
    below the best logit: the distance of the two best where these are the two tokens, and never less than theirs.
    """
    limits: Limits = {"max_new_tokens": max_new_tokens, "stop": stop, "context": context}
    batched = generate(model, tokenizer, prompts, batch_size=batch_size, **limits)
    single = generate(model, tokenizer, prompts, batch_size=1, **limits)
    pairs = zip(token_ids(tokenizer, prompts), batched, single, strict=True)
    differing = [(prompt, one.ids, other.ids) for prompt, one, other in pairs if one.ids != other.ids]
    gaps = tuple(_gap(model, *part) for part in differing)
    return Comparison(len(prompts) - len(differing), len(differing), gaps)


def continuation(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], ids: Sequence[int]) -> str:
    """The text that `ids` add to the prompt's; decoded alone, many tokenizers would drop a leading space."""
    head, whole = _decode(tokenizer, prompt), _decode(tokenizer, [*prompt, *ids])
    return whole[len(head) :] if whole.startswith(head) else _decode(tokenizer, ids)


class _RowEnds(StoppingCriteria):
    """Ends every row by itself, and keeps how many tokens it generated and why it ended.

    Args:
        tokenizer: decodes the end of a row.
        prompts: token ids of each row's prompt, without padding.
        limits: the most new tokens of each row.
        stop: stop strings.
        eos: ids that end a sequence.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        stop: Sequence[str],
        eos: frozenset[int],
    ) -> None:
        self.tokenizer, self.prompts, self.limits, self.stop, self.eos = tokenizer, prompts, limits, stop, eos
        self.width = max(len(ids) for ids in prompts)
        self.ended: list[Ended | None] = [None] * len(prompts)
        self.counts = [0] * len(prompts)
        # A token writes at least one byte, so this many hold a stop string; more, as a first token may lose its space.
        self.window = max((len(text.encode()) for text in stop), default=0) + 4

    def __call__(self, input_ids: Tensor, scores: object, **_: object) -> Tensor:
        """Whether each row is done, (batch,); `input_ids` (batch, tokens so far)."""
        generated = input_ids.shape[1] - self.width
        running = [row for row, ended in enumerate(self.ended) if ended is None]
        ends = input_ids[:, -self.window :].tolist()
        for row in running:
            self.counts[row] = generated
            if ends[row][-1] in self.eos:
                self.ended[row] = "eos"
            elif self.stop and self._stopped(row, ends[row], input_ids):
                self.ended[row] = "stop"
            elif generated >= self.limits[row]:
                self.ended[row] = "length"
        return torch.tensor([ended is not None for ended in self.ended], device=input_ids.device)

    def _stopped(self, row: int, end: list[int], input_ids: Tensor) -> bool:
        """Whether the last tokens hold a stop string; one that they do hold may still be the prompt's."""
        if _first_stop(_decode(self.tokenizer, end), self.stop) is None:
            return False
        text = continuation(self.tokenizer, self.prompts[row], input_ids[row, self.width :].tolist())
        return _first_stop(text, self.stop) is not None


def _batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    config: GenerationConfig,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    stop: Sequence[str],
) -> list[tuple[list[int], Ended]]:
    """Generated ids of each prompt, and why each ended."""
    width = max(len(ids) for ids in prompts)
    device = next(model.parameters()).device
    inputs = torch.full((len(prompts), width), int(config.pad_token_id), device=device)
    mask = torch.zeros_like(inputs)
    for row, ids in enumerate(prompts):
        inputs[row, width - len(ids) :] = torch.tensor(ids, device=device)
        mask[row, width - len(ids) :] = 1
    config.max_new_tokens = max(limits)
    rows = _RowEnds(tokenizer, prompts, limits, stop, frozenset(config.eos_token_id or ()))
    output = model.generate(
        input_ids=inputs, attention_mask=mask, generation_config=config, stopping_criteria=StoppingCriteriaList([rows])
    )
    new = output[:, width:].tolist()
    return [(ids[:count], ended or "length") for ids, count, ended in zip(new, rows.counts, rows.ended, strict=True)]


@contextmanager
def _inference(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode without gradients; the model's mode is restored."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


@contextmanager
def _greedy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Iterator[GenerationConfig]:
    """A plain greedy configuration, in the place of the model's own: generate() fills every gap from that one."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    own = base.generation_config
    ids = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
    eos = sorted({number for number in [*ids, tokenizer.eos_token_id] if number is not None})
    config = GenerationConfig(do_sample=False, eos_token_id=eos or None, pad_token_id=padding_id(tokenizer))
    # It reminds of the context by counting columns, padding included; the positions themselves never leave the context.
    reminder = logging.get_logger("transformers.generation.stopping_criteria")
    level = reminder.level
    base.generation_config = config
    reminder.setLevel(logging.ERROR)
    try:
        yield config
    finally:
        base.generation_config = own
        reminder.setLevel(level)


def prepared(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_new_tokens: int, stop: Sequence[str], context: int
) -> tuple[list[list[int]], list[int], list[Generation]]:
    """Prompt ids, new tokens allowed after each (none where 0 or less), and results that say "no_room", to fill in."""
    if max_new_tokens < 1 or context < 1:
        raise ValueError(f"max_new_tokens={max_new_tokens}, context={context}: expected at least 1")
    if "" in stop:
        raise ValueError("an empty stop string would end every answer before it begins")
    encoded = token_ids(tokenizer, prompts)
    if empty := [i for i, ids in enumerate(encoded) if not ids]:
        raise ValueError(f"prompt {empty[0]} has no tokens, so nothing can follow it")
    limits = [min(max_new_tokens, context - len(ids)) for ids in encoded]
    return encoded, limits, [Generation("", "", (), "no_room") for _ in prompts]


def finished(raw: str, ids: Sequence[int], ended: Ended, stop: Sequence[str]) -> Generation:
    """A result from the uncut text; a stop string in it is what ended the answer."""
    cut = _first_stop(raw, stop)
    return Generation(raw, raw, tuple(ids), ended) if cut is None else Generation(raw[:cut], raw, tuple(ids), "stop")


def _first_stop(text: str, stop: Sequence[str]) -> int | None:
    return min((place for place in map(text.find, stop) if place >= 0), default=None)


def _decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _gap(model: PreTrainedModel, prompt: Sequence[int], one: Sequence[int], other: Sequence[int]) -> float:
    """How far the worse of the first two differing tokens lies below the best logit; infinite for a mere prefix."""
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if same is None:
        return math.inf
    ids = torch.tensor([[*prompt, *one[:same]]], device=next(model.parameters()).device)
    with _inference(model):
        logits = model(input_ids=ids, use_cache=False).logits[0, -1].float()
    return float(logits.max() - logits[[one[same], other[same]]].min())
