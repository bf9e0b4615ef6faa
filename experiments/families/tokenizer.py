"""The tokenizer of a backbone: loaded, tried on a text, and held against the model that reads its ids."""

from __future__ import annotations

from pathlib import Path

import datasets
import pyarrow.compute as pc
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase

from experiments.errors import SpecError, shorten

_SAMPLE = "The 2 of them wrote: “naïve”, zq&☃."
"""A text with words, a number and signs that a vocabulary may lack."""
_ACCEPTED = "accepted: the tokenizer that the model was trained with"


def loaded(folder: Path, key: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder, which can turn any text into tokens.

    Args:
        folder: of the tokenizer's files; code beside them is not run.
        key: the setting that asks for the folder, with its value.

    Raises:
        SpecError: if it cannot be loaded, or gives no tokens for a text.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        tokens = tokenizer(_SAMPLE, add_special_tokens=False)["input_ids"]
    except Exception as error:  # each class reads its files in its own way
        why = shorten(" ".join(str(error).split())) or type(error).__name__
        raise SpecError([f"{key}: its tokenizer cannot be used ({why}); {_ACCEPTED}"]) from error
    if not tokens:
        raise SpecError([f"{key}: its tokenizer gives no token for a text; {_ACCEPTED}"])
    return tokenizer


def require_token(tokenizer: PreTrainedTokenizerBase, name: str, key: str) -> None:
    """Refuse a tokenizer without a special token.

    Args:
        tokenizer: of the backbone.
        name: of the token in tokenizer_config.json: "pad_token" or "eos_token".
        key: the setting that asks for its folder, with its value.

    Raises:
        SpecError: naming the token.
    """
    if getattr(tokenizer, name) is None:
        raise SpecError([f"{key}: its tokenizer has no {name}; accepted: one that names it in tokenizer_config.json"])


def require_known(examples: datasets.Dataset, config: PretrainedConfig, key: str) -> None:
    """Refuse token ids for which the model has no embedding.

    Args:
        examples: with a column `input_ids`.
        config: of the model.
        key: the setting that asks for its folder, with its value.

    Raises:
        SpecError: naming the largest id.
    """
    size = config.get_text_config().vocab_size
    highest = pc.max(pc.list_flatten(examples.with_format("arrow")[:]["input_ids"])).as_py()
    if highest is not None and highest >= size:
        raise SpecError(
            [f"{key}: its tokenizer gives the id {highest}, and config.json says vocab_size={size}; {_ACCEPTED}"]
        )
