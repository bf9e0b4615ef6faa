"""From pairs of prompt and response to the batches that a causal language model is trained on.

One example is prompt + response + end of sequence. `labels` are -100 where nothing is to be learnt: on the prompt for
`loss="response"`; for `loss="text"` on the first token alone, which no token predicts.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import datasets
import torch
from pydantic import JsonValue
from torch import Tensor
from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a token that no loss is taken of."""

Loss = Literal["response", "text"]
Keep = Literal["first", "last"]


@dataclass(frozen=True)
class EncodingReport:
    """What became of the pairs, for the run record.

    Attributes:
        loss: where the loss is taken, "response" or "text".
        keep: the tokens that an example longer than the context keeps, "first" or "last".
        context: tokens per example at most.
        pairs: number of pairs given.
        longer_than_context: pairs of which tokens were cut off.
        question_beyond_context: pairs of which the prompt alone leaves no room for a token of the response.
        longest: tokens of the longest example before the cut.
        left_out: pairs left out because the cut left no token to learn.
        split_at_prompt: pairs whose tokens would cross from prompt into response, so that the two were tokenized apart.
        tokens: tokens of all examples.
        learnt_tokens: those of them that the loss is taken of.
    """

    loss: Loss
    keep: Keep
    context: int
    pairs: int
    longer_than_context: int
    question_beyond_context: int
    longest: int
    left_out: int
    split_at_prompt: int
    tokens: int
    learnt_tokens: int

    def as_record(self) -> dict[str, JsonValue]:
        """The report as plain values, but for what is only said."""
        return {name: value for name, value in asdict(self).items() if name != "question_beyond_context"}


def encode(
    pairs: Sequence[tuple[str, str]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    context: int,
    loss: Loss = "response",
    keep: Keep = "last",
) -> tuple[datasets.Dataset, EncodingReport]:
    """Tokenize pairs of prompt and response; both texts already hold everything that their template adds.

    The tokens of the prompt are those that `generation.generate` feeds for the same prompt.

    Args:
        pairs: (prompt, response), where the response brings its own leading space or newline.
        tokenizer: a tokenizer with an end-of-sequence token.
        context: the most tokens of one example, the end of sequence among them.
        loss: where the loss is taken.
        keep: which end of a longer example stays.

    Returns:
        The examples, columns `input_ids` and `labels`, in the order of the pairs; and the report.

    Raises:
        ValueError: an unknown `loss` or `keep`, a context below two tokens, or no end-of-sequence token.
    """
    _check_settings(tokenizer, context, loss, keep)

    def rows(batch: dict[str, list[str]]) -> dict[str, Sequence[object]]:
        joined = _joined(tokenizer, batch["prompt"], batch["response"])
        parts = [_example(prompt, response, context, loss, keep) for prompt, response, _ in joined]
        return {
            "input_ids": [ids for ids, _ in parts],
            "labels": [labels for _, labels in parts],
            "length": [len(prompt) + len(response) for prompt, response, _ in joined],
            "question": [len(prompt) for prompt, _, _ in joined],
            "split": [split for _, _, split in joined],
            "learnt": [sum(label != IGNORED for label in labels) for _, labels in parts],
        }

    texts = datasets.Dataset.from_dict({"prompt": [p for p, _ in pairs], "response": [r for _, r in pairs]})
    table = texts.map(rows, batched=True, remove_columns=texts.column_names, keep_in_memory=True, desc="Tokenizing")
    lengths, learnt = list(table["length"]), list(table["learnt"])
    kept = [index for index, count in enumerate(learnt) if count]
    report = EncodingReport(
        loss=loss,
        keep=keep,
        context=context,
        pairs=len(pairs),
        longer_than_context=sum(length > context for length in lengths),
        question_beyond_context=sum(length >= context for length in table["question"]),
        longest=max(lengths, default=0),
        left_out=len(learnt) - len(kept),
        split_at_prompt=sum(table["split"]),
        tokens=sum(min(lengths[index], context) for index in kept),
        learnt_tokens=sum(learnt),
    )
    return table.select(kept).select_columns(["input_ids", "labels"]), report


def _check_settings(tokenizer: PreTrainedTokenizerBase, context: int, loss: Loss, keep: Keep) -> None:
    if loss not in ("response", "text"):
        raise ValueError(f"loss={loss!r}: expected 'response' or 'text'")
    if keep not in ("first", "last"):
        raise ValueError(f"keep={keep!r}: expected 'first' or 'last'")
    if context < 2:
        raise ValueError(f"context={context}: an example needs at least two tokens")
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no end-of-sequence token, so no example could end")


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts that go on: with the special tokens that begin a text, without one that ends it."""
    if not texts:
        return []
    encoded = tokenizer(list(texts), padding=False, truncation=False, verbose=False)["input_ids"]
    # A single token is kept: where begin and end of sequence are the same token, it begins an empty text.
    return [ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids for ids in encoded]


def pack(examples: datasets.Dataset, length: int) -> datasets.Dataset:
    """Several examples in one row, each put into the fullest row that still has room for it.

    Returns:
        Rows of at most `length` tokens: `input_ids`, `labels`, and `position_ids` that begin at 0 with every example.
        They need `PackedCollator`.

    Raises:
        ValueError: an example is longer than `length`.
    """
    lengths = [len(ids) for ids in examples["input_ids"]]
    if max(lengths, default=0) > length:
        raise ValueError(f"an example of {max(lengths)} tokens does not fit into a packed row of {length}")
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, row), ascending
    for index, size in enumerate(lengths):
        place = bisect_left(room, (size, -1))
        left, row = room.pop(place) if place < len(room) else (length, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(index)
        insort(room, (left - size, row))

    def join(batch: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        chosen = [examples[members] for members in batch["members"]]
        return {
            "input_ids": [[token for ids in row["input_ids"] for token in ids] for row in chosen],
            # The first token of an example must not be learnt from the last token of the one before.
            "labels": [[label for own in row["labels"] for label in (IGNORED, *own[1:])] for row in chosen],
            "position_ids": [[position for ids in row["input_ids"] for position in range(len(ids))] for row in chosen],
        }

    members = datasets.Dataset.from_dict({"members": rows})
    return members.map(join, batched=True, remove_columns=["members"], keep_in_memory=True, desc="Packing")


@dataclass(frozen=True)
class PaddingCollator:
    """Pads examples on the right, to the longest of the batch.

    Args:
        pad_id: the token id to pad with; masked, so any id does (`padding_id`).
    """

    pad_id: int

    def __call__(self, features: Sequence[Mapping[str, list[int]]]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` and `labels`, each (batch, longest)."""
        return {
            "input_ids": _padded([row["input_ids"] for row in features], self.pad_id),
            "attention_mask": _padded([[1] * len(row["input_ids"]) for row in features], 0),
            "labels": _padded([row["labels"] for row in features], IGNORED),
        }


@dataclass(frozen=True)
class PackedCollator:
    """Pads packed rows on the right; no example attends to another one in its row.

    Without an attention mask and without a cache, transformers reads the borders of the examples from `position_ids`,
    in every attention it offers. A mask or a cache would make it attend across them, hence `use_cache`.

    Args:
        pad_id: the token id to pad with.
    """

    pad_id: int

    def __call__(self, features: Sequence[Mapping[str, list[int]]]) -> dict[str, Tensor | bool]:
        """`input_ids`, `labels` and `position_ids`, each (batch, longest), and `use_cache`."""
        return {
            "input_ids": _padded([row["input_ids"] for row in features], self.pad_id),
            "labels": _padded([row["labels"] for row in features], IGNORED),
            # A position of 0 makes every padding token an example of its own.
            "position_ids": _padded([row["position_ids"] for row in features], 0),
            "use_cache": False,
        }


def padding_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id to pad with: the tokenizer's own, else its end of sequence, else 0; always behind a mask."""
    ids = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return int(next(number for number in ids if number is not None))


def _joined(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], responses: Sequence[str]
) -> list[tuple[list[int], list[int], bool]]:
    """For each pair: tokens of the prompt, tokens of the response with end of sequence, whether tokenized apart."""
    heads = token_ids(tokenizer, prompts)
    wholes = token_ids(tokenizer, [prompt + response for prompt, response in zip(prompts, responses, strict=True)])
    joined = []
    for head, whole, response in zip(heads, wholes, responses, strict=True):
        # Generation starts from the prompt's own tokens, so training must see exactly these.
        split = whole[: len(head)] != head
        tail = whole[len(head) :]
        if split:
            tail = tokenizer(response, add_special_tokens=False, verbose=False)["input_ids"]
        joined.append((head, [*tail, tokenizer.eos_token_id], split))
    return joined


def _example(
    prompt: list[int], response: list[int], context: int, loss: Loss, keep: Keep
) -> tuple[list[int], list[int]]:
    """`input_ids` and `labels` of one example, cut to the context."""
    ids = prompt + response
    labels = [IGNORED] * len(prompt) + response if loss == "response" else list(ids)
    chosen = slice(-context, None) if keep == "last" else slice(context)
    ids, labels = ids[chosen], labels[chosen]
    return ids, [IGNORED, *labels[1:]]


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows], dtype=torch.long)
