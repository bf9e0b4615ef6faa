"""Which files hold a split by their names, and whether they are all of it: one rule for folders and the hub's cache."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

FORMATS = (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv")
_TEXT_FORMATS = FORMATS[2:]

_MOST_SHOWN = 6

_SHARD = re.compile(r"-(\d+)-of-(\d+)(?:-[0-9a-f]{16})?(?=\.)")
_NUMBER = re.compile(r"(?:^|-)(\d+)(?=\.)")


def ending(path: Path) -> str:
    """The format of a file and, of text, whether it is compressed: `.csv`, `.csv.gz`; "" for files of no rows."""
    name = path.name.lower()
    plain = name.removesuffix(".gz")
    suffix = Path(plain).suffix
    accepted = suffix in (FORMATS if plain == name else _TEXT_FORMATS)
    return name[name.rindex(suffix) :] if accepted and not name.startswith(".") else ""


def holds_split(path: Path, split: str) -> bool:
    """Whether a data file belongs to a split, by its name.

    `SPLIT.parquet`; of shards `SPLIT-00000-of-00002.parquet`, or `SPLIT-0.parquet`; Arrow files may carry the data
    set's name in front: `NAME-SPLIT.arrow`.
    """
    stem = _stem(path.name)
    return stem == split or (path.suffix == ".arrow" and stem.endswith(f"-{split}"))


def fault(names: Sequence[str]) -> str | None:
    """Why files are not one whole split, as the end of a sentence; None where they are.

    Args:
        names: of all files of the split.
    """
    shards = [match for match in map(_SHARD.search, names) if match]
    totals = sorted({int(match[2]) for match in shards})
    if (shards and len(shards) < len(names)) or len(totals) > 1:
        return f"overlap ({listed(names)})"
    if shards:
        return _gap([int(match[1]) for match in shards], range(totals[0]))
    whole = [name for name in names if name.split(".")[0] == _stem(name)]
    if whole and len(names) > 1 and not all(map(_NUMBER.search, names)):
        return f"overlap ({listed(names)})"
    numbers = [int(match[1]) for match in map(_NUMBER.search, names) if match]
    return _gap(numbers, range(min(numbers), max(numbers) + 1)) if len(numbers) == len(names) > 0 else None


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more


def _stem(name: str) -> str:
    return _NUMBER.sub("", _SHARD.sub("", name)).split(".")[0]


def _gap(numbers: Sequence[int], expected: range) -> str | None:
    there = set(numbers)
    missing = list(islice((str(number) for number in expected if number not in there), _MOST_SHOWN))
    if missing:
        more = len(expected) - len(there.intersection(expected)) - len(missing)
        shards = ", ".join(missing) + (f" and {more} more" if more else "")
        return f"are incomplete (of shards {expected.start} to {expected.stop - 1} these are missing: {shards})"
    twice = sorted(number for number, count in Counter(numbers).items() if count > 1 or number not in expected)
    return f"overlap (shards twice, or beyond their number: {listed(list(map(str, twice)))})" if twice else None
