"""What options of several commands accept."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence


def count(text: str) -> int:
    """A number of at least 1.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    return _whole(text, 1)


def not_negative(text: str) -> int:
    """A number of at least 0.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text}: accepted: an integer of at least {least}")
    return int(text)


def names(text: str) -> list[str]:
    """Names with commas between them."""
    return text.split(",")


def choices(accepted: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """What reads some of a list of names, with commas between them."""

    def chosen(text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(names(text)))
        if unknown := [name for name in found if name not in accepted]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: unknown; accepted: {', '.join(accepted)}")
        return found

    return chosen
