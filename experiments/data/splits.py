"""Which rows train, select and test: seeded subsets, and the selection split cut from the training rows.

Draws come from `numpy.random.RandomState`, whose streams NumPy keeps for good (NEP 19).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Splits:
    """The rows of a run, each with its inputs, its label and its `example_id`.

    Args:
        train: the rows trained on.
        selection: the rows whose primary metric chooses the epoch; never a test row under protocol=heldout.
        tests: the final test under "test" (protocol=heldout only) and further ones by name ("mismatched").
        notes: what has to be said of them.
    """

    train: datasets.Dataset
    selection: datasets.Dataset
    tests: dict[str, datasets.Dataset]
    notes: Sequence[str] = ()

    @property
    def parts(self) -> dict[str, datasets.Dataset]:
        """The rows by split, those that train first."""
        return {"train": self.train, "selection": self.selection, **self.tests}

    def fingerprints(self) -> dict[str, str]:
        """The content hash of the rows really used, by split."""
        return {name: fingerprint(rows) for name, rows in self.parts.items()}


def fingerprint(rows: datasets.Dataset) -> str:
    """sha256, in hex, of all values in order, with their column names and types; caches and files leave no trace."""
    digest = hashlib.sha256()
    for name in sorted(rows.column_names):
        column = [name, str(rows.features[name]), _values(rows, name)]
        digest.update(json.dumps(column, ensure_ascii=False, allow_nan=False).encode())
    return digest.hexdigest()


def _values(rows: datasets.Dataset, name: str) -> list[object]:
    """A column's values; of an image the hash of its file's bytes, wherever that file lies."""
    import datasets

    if not isinstance(rows.features[name], datasets.Image):
        return list(rows[name][:])
    encoded = rows.select_columns([name]).cast_column(name, datasets.Image(decode=False))
    return [hashlib.sha256(image["bytes"]).hexdigest() for image in encoded[name]]


def draw(total: int, rows: int | None, seed: int) -> list[int]:
    """Indices of a seeded subset, in their own order; of one seed, a smaller subset lies within a larger one."""
    if rows is None or rows >= total:
        return list(range(total))
    return sorted(np.random.RandomState(seed).permutation(total)[:rows].tolist())


def selection_fraction(total: int) -> float:
    """The part of the training rows that selects: min(max(0.15, 300 / n), 0.20).

    The GPart authors' rule (PAPERS.md, "GPart: experiments & hyperparameters", GLUE).
    """
    return min(max(0.15, 300 / total), 0.20)


def cut(
    total: int, classes: Sequence[int] | None, seed: int, fraction: float | None = None
) -> tuple[list[int], list[int]]:
    """Cut training rows into those that train and those that select, both in their own order.

    Args:
        total: the number of rows, n.
        classes: the label of each row (n,), to stratify by; None for a regression.
        seed: of the draw.
        fraction: the part that selects; None: `selection_fraction`.

    Returns:
        indices that train, indices that select (n * fraction, rounded up).

    Raises:
        ValueError: if there are too few rows, in all or of one class.
    """
    from sklearn.model_selection import train_test_split  # a second, which a recorded run need not wait for

    part = fraction or selection_fraction(total)
    train, selection = train_test_split(np.arange(total), test_size=part, random_state=seed, stratify=classes)
    return sorted(train.tolist()), sorted(selection.tolist())
