"""Options that several commands take."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


def names(accepted: Sequence[str], noun: str) -> dict[str, Any]:
    """The settings of an option that takes some of a list of names, separated by commas."""

    def chosen(text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(text.split(",")))
        unknown = [name for name in found if name not in accepted]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: unknown {noun}; accepted: {', '.join(accepted)}")
        return found

    return {
        "type": chosen,
        "default": tuple(accepted),
        "metavar": "NAMES",
        "help": f"of {','.join(accepted)} (default: all)",
    }
